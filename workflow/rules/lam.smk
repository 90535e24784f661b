# What each run's windows draw on: local attribution maps over a set.


rule lam:
    input:
        run=f"{RESULTS}/runs/{{run}}.json",
        weights=f"{RESULTS}/weights/{{run}}/weights.safetensors",
        data=lambda wildcards: (
            f"{RESULTS}/data/{wildcards.dataset}-x{RUNS[wildcards.run].scale}.json"
        ),
    output:
        f"{RESULTS}/lam/{{run}}.{{dataset}}/record.json",
    log:
        f"{RESULTS}/logs/lam/{{run}}.{{dataset}}.log",
    threads: CONFIG.train.threads
    resources:
        gpu=int(TRAIN_DEVICE == "cuda"),
    params:
        data=f"{DATA}/{{dataset}}",
        scale=lambda wildcards: RUNS[wildcards.run].scale,
        folder=f"{RESULTS}/lam/{{run}}.{{dataset}}",
        device=TRAIN_DEVICE,
        code=fingerprint(
            "models",
            "measure/attribution.py",
            "measure/attribution_files.py",
            "measure/attribution_maps.py",
            "measure/attribution_pictures.py",
        ),
    shell:
        "hitsr lam {input.run} --weights {input.weights} --set {params.data}"
        " --scale {params.scale} --out {params.folder} --device {params.device}"
        " --threads {threads} > {log} 2>&1"


rule lam_sheet:
    input:
        lambda wildcards: [
            f"{RESULTS}/lam/{run}.{wildcards.dataset}/record.json"
            for run, spec in RUNS.items()
            if str(spec.scale) == wildcards.scale
        ],
    output:
        f"{RESULTS}/lam/sheets/{{dataset}}-x{{scale}}.png",
    log:
        f"{RESULTS}/logs/lam/{{dataset}}-x{{scale}}.log",
    localrule: True
    params:
        code=fingerprint("measure/attribution_pictures.py"),
    shell:
        "hitsr sheet {input} --out {output} > {log} 2>&1"
