# SR pictures are files of their own, scored from those files.


def released_weights(method):
    """The file of released weights, where it is: a missing one is told before anything runs."""
    found = find_weights(CONFIG.weights.root, method.network, method.scale)
    return found.as_posix() if found else []


def method_inputs(wildcards):
    """What makes the pictures of a method: a run, weights, code; of a control nothing but data."""
    method = SCORED[wildcards.method]
    inputs = {"data": f"{RESULTS}/data/{wildcards.dataset}-x{method.scale}.json"}
    if method.kind == "trained":
        inputs["run"] = f"{RESULTS}/runs/{method.name}.json"
        inputs["weights"] = f"{RESULTS}/weights/{method.name}/weights.safetensors"
    elif method.kind == "released":
        inputs["weights"] = released_weights(method)
    elif method.kind == "own":
        inputs["own"] = list(OWN[method.name].files)
    return inputs


def method_argument(wildcards, input):
    """How `restore` and `lam` name it."""
    method = SCORED[wildcards.method]
    if method.kind == "trained":
        return f"{input.run} --weights {input.weights}"
    if method.kind == "released":
        return f"{method.network} --weights {input.weights}"
    return OWN[method.name].source if method.kind == "own" else method.network


def own_of(wildcards):
    """The name of a network of one's own; of other methods nothing."""
    method = SCORED[wildcards.method]
    return method.network if method.kind == "own" else ""


def scale_of(wildcards):
    return SCORED[wildcards.method].scale


rule restore:
    input:
        unpack(method_inputs),
    output:
        directory(f"{RESULTS}/pictures/{{method}}.{{dataset}}"),
    log:
        f"{RESULTS}/logs/restore/{{method}}.{{dataset}}.log",
    threads: THREADS
    resources:
        gpu=int(TRAIN_DEVICE == "cuda"),
    params:
        data=f"{DATA}/{{dataset}}",
        scale=scale_of,
        method=method_argument,
        code=fingerprint(
            "models",
            "runtime/free_memory.py",
            "runtime/tensors.py",
            "upscaling/ensemble.py",
            "upscaling/inference.py",
            "upscaling/tile_size.py",
            "upscaling/tiling.py",
            "data/bicubic.py",
            "data/images.py",
        ),
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
            if SCORED[wildcards.method].kind == "trained"
            else f"--method {SCORED[wildcards.method].network}"
        ),
        code=fingerprint("measure/metrics.py", "measure/quality.py", "data/images.py"),
    shell:
        "hitsr quality --sr {input.sr} --hr {params.hr} --scale {params.scale}"
        " --dataset {wildcards.dataset} {params.made_by} --out {output} > {log} 2>&1"
