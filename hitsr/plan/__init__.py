"""Jobs: everything that a config and its ablations request, and the files involved.

To understand the pipeline, read jobs, planning and layout. What else is here serves one of these:

- what a job is of, and is made of: subjects, picture_sets, archives, fingerprint
- processes that share jobs: batches, ahead, kept
- a run of the pipeline: command_line, needs, gpus, queued, watching, failures, manifest
- `hitsr plan`, before a run: outlook; for it durations, rates, ordering, room, reasons, standing
"""
