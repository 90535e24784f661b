# Prepare sets, train networks, upscale and score pictures, map attributions.


rule prepare:
    input:
        unpack(asked("prepare")),
    output:
        LAYOUT.output("prepare", "{name}"),
    log:
        LAYOUT.log("prepare", "{name}"),
    priority: 10  # missing pictures should fail early
    localrule: True
    conda:
        own_environment
    threads: workflow.cores
    params:
        code=code_of("prepare"),
    shell:
        "hitsr prepare --job {input.job:q}" + TO_LOG


rule train:
    input:
        unpack(asked("train")),
    output:
        LAYOUT.output("train", "{name}"),
        LAYOUT.weights("{name}"),
        LAYOUT.training_log("{name}"),
    log:
        LAYOUT.log("train", "{name}"),
    priority: TRAIN_FIRST
    conda:
        own_environment
    threads: lambda wildcards: max(THREADS, processes(wildcards))
    resources:
        gpu=shared_by,
        gpu_places=lambda wildcards: IS_HERE * EACH * shared_by(wildcards),
    params:
        code=code_of("train"),
        lease=lease,
    shell:
        PATIENT
        + f"hitsr train --job {{input.job:q}} --threads {TOLD_THREADS}"
        + LEASED
        + TO_LOG_AND_SCREEN


rule restore:
    input:
        unpack(asked("restore")),
    output:
        directory(LAYOUT.output("restore", "{name}")),
    log:
        LAYOUT.log("restore", "{name}"),
    conda:
        own_environment
    threads: THREADS
    resources:
        gpu=gpus("restore"),
        gpu_places=place("restore"),
    params:
        code=code_of("restore"),
        lease=lease,
        given=given("restore"),
        wanted=LAYOUT.wanted,
    shell:
        f"hitsr restore --job {{input.job:q}} --threads {TOLD_THREADS}"
        + LEASED
        + ALONG
        + TO_LOG


rule quality:
    input:
        unpack(asked("quality")),
    output:
        LAYOUT.output("quality", "{name}"),
    log:
        LAYOUT.log("quality", "{name}"),
    conda:
        own_environment
    params:
        code=code_of("quality"),
    shell:
        "hitsr quality --job {input.job:q}" + TO_LOG


rule lam:
    input:
        unpack(asked("lam")),
    output:
        LAYOUT.output("lam", "{name}"),
    log:
        LAYOUT.log("lam", "{name}"),
    conda:
        own_environment
    threads: THREADS
    resources:
        gpu=gpus("lam"),
        gpu_places=place("lam"),
    params:
        code=code_of("lam"),
        lease=lease,
        given=given("lam"),
        wanted=LAYOUT.wanted,
    shell:
        f"hitsr lam --job {{input.job:q}} --threads {TOLD_THREADS}"
        + LEASED
        + ALONG
        + TO_LOG


rule lam_sheet:
    input:
        mapped,
    output:
        LAYOUT.map_sheet("{dataset}", "{scale}"),
    log:
        LAYOUT.log("lam", "{dataset}-x{scale}.sheet"),
    localrule: True
    conda:
        own_environment
    params:
        code=code_of("lam_sheet"),
    shell:
        "hitsr sheet {input:q} --out {output:q}" + TO_LOG
