# One job per run; equal runs are one job, whatever asks for them.


rule resolve_run:
    output:
        f"{RESULTS}/runs/{{run}}.json",
    log:
        f"{RESULTS}/logs/resolve/{{run}}.log",
    localrule: True
    params:
        value=lambda wildcards: RUNS[wildcards.run].hash,
    shell:
        "hitsr resolve {CONFIG_FILE} {wildcards.run} --ablations {ABLATIONS} > {output} 2> {log}"


def started_from(wildcards):
    """Weights of the run that this one starts from, if it does."""
    start = RUNS[wildcards.run].start_from
    return [f"{RESULTS}/weights/{start.name}/weights.safetensors"] if start else []


rule train:
    input:
        run=f"{RESULTS}/runs/{{run}}.json",
        data=lambda wildcards: [
            f"{RESULTS}/data/{dataset}-x{RUNS[wildcards.run].scale}.json"
            for dataset in {RUNS[wildcards.run].data, CONFIG.data.validation}
        ],
        start=started_from,
    output:
        weights=f"{RESULTS}/weights/{{run}}/weights.safetensors",
        log=f"{RESULTS}/weights/{{run}}/log.jsonl",
        record=f"{RESULTS}/weights/{{run}}/record.json",
    log:
        f"{RESULTS}/logs/train/{{run}}.log",
    threads: THREADS
    resources:
        gpu=int(TRAIN_DEVICE == "cuda"),
    params:
        folder=f"{RESULTS}/weights/{{run}}",
        data=DATA,
        start=lambda wildcards, input: (
            f"--start-from {input.start}" if input.start else ""
        ),
        device=TRAIN_DEVICE,
        compile="--compile" if CONFIG.train and CONFIG.train.compile else "",
        code=fingerprint(
            "models",
            "training",
            *(f"data/{part}.py" for part in ("images", "loader", "packs", "patches")),
            "base/seeds.py",
        ),
    shell:
        "hitsr train {input.run} --data {params.data} --packs {PACKS} --out {params.folder}"
        " {params.start} --device {params.device} --threads {threads} {params.compile}"
        " 2>&1 | tee {log}"
