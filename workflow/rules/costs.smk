# Measure costs. One process measures a batch of jobs, whose timings take turns.


def batches(*kinds):
    """Yield (rule name, verb, jobs) for each batch of these kinds of jobs."""
    for name, jobs in cost_batches(PLAN.jobs).items():
        if jobs[0].kind in kinds:
            yield rule_name(name), jobs[0].kind.replace("_", "-"), jobs


def batch_inputs(jobs):
    """Input function of a batch: its job files, and the files that the jobs read."""

    def inputs(wildcards):
        found = [inputs_of(job) for job in jobs]
        read = [path for each in found for role, path in each.items() if role != "job"]
        return {"jobs": [each["job"] for each in found], "read": sorted({*read})}

    return inputs


def job_flags(wildcards, input):
    return [word for file in input.jobs for word in ("--job", file)]


for batch, verb, jobs in batches("complexity", "scaling"):

    rule:
        name:
            batch
        input:
            unpack(batch_inputs(jobs)),
        output:
            outputs(jobs),
        log:
            LAYOUT.log(jobs[0].kind, batch),
        params:
            verb=verb,
            jobs=job_flags,
            code=code_of(jobs[0].kind),
        shell:
            "hitsr {params.verb} {params.jobs:q}" + ALONG + TO_LOG


for batch, verb, jobs in batches("latency", "scaling_time"):

    rule:
        name:
            batch
        input:
            unpack(batch_inputs(jobs)),
        output:
            outputs(jobs),
        log:
            LAYOUT.log(jobs[0].kind, batch),
        threads: workflow.cores  # all cores, so that no other job runs beside a timing
        resources:
            gpu=int(jobs[0].device != "cpu"),
            gpu_places=IS_HERE * EACH * int(jobs[0].device != "cpu"),
        params:
            verb=verb,
            jobs=job_flags,
            code=code_of(jobs[0].kind),
        shell:
            "hitsr {params.verb} {params.jobs:q} --threads {threads}"
            + LEASED
            + ALONG
            + TO_LOG_AND_SCREEN


rule latency_all:
    input:
        lambda wildcards: outputs(PLAN.asked_by(LATENCY)),
    localrule: True
