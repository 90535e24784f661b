"""Slurm's queue: what goes back into it, and what an earlier pipeline has left there."""

import subprocess

# 1 in jobs of the pipeline, which do nothing but their training: it may put its job back.
REQUEUE = "HITSR_REQUEUE"
_PATIENCE_S = 60.0


def left_in_queue(prefix: str) -> str | None:
    """A message about jobs whose names begin so (`plan.command_line.job_prefix`); None without any.

    Of a driver that was killed they go on; the same jobs, submitted again, would do the same work
    and write the same files.
    """
    try:
        asked = subprocess.run(
            ["squeue", "--me", "--noheader", "--format", "%i %j"],
            capture_output=True, encoding="utf-8", errors="replace", check=True,
            timeout=_PATIENCE_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"squeue, which tells what an earlier pipeline has left in the queue: {error}"
    rows = [line.split(" ", 1) for line in asked.stdout.splitlines()]
    left = [number for number, name in rows if name.startswith(f"{prefix}_")]
    if not left:
        return None
    return (
        f"{len(left)} jobs of an earlier pipeline for these results are still in Slurm's queue; "
        f"wait until they have ended, or cancel them (`scancel {' '.join(left)}`), then repeat the "
        "command"
    )
