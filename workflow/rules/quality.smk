# SR pictures are files of their own, scored from those files.


def method_inputs(wildcards):
    """What makes the pictures of a run; of a control, nothing but the data."""
    scale = wildcards.method.rsplit("-x", 1)[1][0]
    inputs = {"data": f"{RESULTS}/data/{wildcards.dataset}-x{scale}.json"}
    if wildcards.method in RUNS:
        inputs["run"] = f"{RESULTS}/runs/{wildcards.method}.json"
        inputs["weights"] = f"{RESULTS}/weights/{wildcards.method}/weights.safetensors"
    return inputs


def scale_of(wildcards):
    return wildcards.method.rsplit("-x", 1)[1][0]


def control_of(wildcards):
    return wildcards.method.rsplit("-x", 1)[0]


rule restore:
    input:
        unpack(method_inputs),
    output:
        directory(f"{RESULTS}/pictures/{{method}}.{{dataset}}"),
    log:
        f"{RESULTS}/logs/restore/{{method}}.{{dataset}}.log",
    threads: CONFIG.train.threads
    resources:
        gpu=int(TRAIN_DEVICE == "cuda"),
    params:
        data=f"{DATA}/{{dataset}}",
        scale=scale_of,
        method=lambda wildcards, input: (
            f"{input.run} --weights {input.weights}"
            if wildcards.method in RUNS
            else control_of(wildcards)
        ),
        code=fingerprint("models", "inference.py", "data/bicubic.py", "data/images.py"),
    shell:
        "hitsr restore {params.method} --data {params.data} --scale {params.scale}"
        " --out {output} --threads {threads} > {log} 2>&1"


rule quality:
    input:
        unpack(lambda w: {k: v for k, v in method_inputs(w).items() if k != "weights"}),
        sr=f"{RESULTS}/pictures/{{method}}.{{dataset}}",
    output:
        f"{RESULTS}/records/quality/{{method}}.{{dataset}}.json",
    log:
        f"{RESULTS}/logs/quality/{{method}}.{{dataset}}.log",
    params:
        hr=f"{DATA}/{{dataset}}/HR",
        scale=scale_of,
        made_by=lambda wildcards, input: (
            f"--run {input.run}"
            if wildcards.method in RUNS
            else f"--method {control_of(wildcards)}"
        ),
        code=fingerprint("metrics.py", "measure/quality.py", "data/images.py"),
    shell:
        "hitsr quality --sr {input.sr} --hr {params.hr} --scale {params.scale}"
        " --dataset {wildcards.dataset} {params.made_by} --out {output} > {log} 2>&1"
