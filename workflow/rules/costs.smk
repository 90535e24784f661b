# Measure costs. One process measures a batch of jobs, whose timings take turns.


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
        conda:
            own_environment
        params:
            verb=verb,
            jobs=job_flags,
            code=code_of(jobs[0].kind),
            wanted=LAYOUT.wanted,
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
        conda:
            own_environment
        threads: workflow.cores  # all cores, so that no other job runs beside a timing
        resources:
            gpu=int(jobs[0].device != "cpu"),
            gpu_places=IS_HERE * EACH * int(jobs[0].device != "cpu"),
        params:
            verb=verb,
            jobs=job_flags,
            lease=lease,
            code=code_of(jobs[0].kind),
            wanted=LAYOUT.wanted,
        shell:
            "hitsr {params.verb} {params.jobs:q} --threads {threads}"
            + LEASED
            + ALONG
            + TO_LOG_AND_SCREEN


for batch, _, jobs in batches("complexity", "scaling", "latency", "scaling_time"):
    set_as_its_kind(batch, jobs[0].kind)


rule latency_all:
    input:
        lambda wildcards: outputs(PLAN.asked_by(LATENCY)),
    localrule: True
