# What each method's windows draw on: local attribution maps over a set.


def attribution_records(sets, scales):
    """Files of the maps of every method but the controls."""
    return [
        f"{RESULTS}/lam/{method.name}.{dataset}/record.json"
        for method in METHODS.values()
        for dataset in sets
        if method.scale in scales and method.kind != "control"
    ]


rule lam:
    input:
        unpack(method_inputs),
    output:
        f"{RESULTS}/lam/{{method}}.{{dataset}}/record.json",
    log:
        f"{RESULTS}/logs/lam/{{method}}.{{dataset}}.log",
    threads: THREADS
    resources:
        gpu=int(TRAIN_DEVICE == "cuda"),
    params:
        data=f"{DATA}/{{dataset}}",
        scale=scale_of,
        method=lambda wildcards, input: (
            method_argument(wildcards, input)
            + (f" --name {own_of(wildcards)}" if own_of(wildcards) else "")
        ),
        folder=f"{RESULTS}/lam/{{method}}.{{dataset}}",
        crop=CONFIG.lam.crop if CONFIG.lam else 256,
        device=TRAIN_DEVICE,
        code=fingerprint(
            "models",
            "measure/attribution.py",
            "measure/attribution_files.py",
            "measure/attribution_maps.py",
            "measure/attribution_pictures.py",
        ),
    shell:
        "hitsr lam {params.method} --set {params.data} --scale {params.scale}"
        " --crop {params.crop} --out {params.folder} --device {params.device} --threads {threads} > {log} 2>&1"


rule lam_sheet:
    input:
        lambda wildcards: attribution_records(
            [wildcards.dataset], [int(wildcards.scale)]
        ),
    output:
        f"{RESULTS}/lam/sheets/{{dataset}}-x{{scale}}.png",
    log:
        f"{RESULTS}/logs/lam/{{dataset}}-x{{scale}}.log",
    localrule: True
    params:
        code=fingerprint("measure/attribution_pictures.py"),
    shell:
        "hitsr sheet {input} --out {output} > {log} 2>&1"
