# What published-size networks cost: complexity and latency.


rule resolve_network:
    output:
        f"{RESULTS}/networks/{{network}}.json",
    log:
        f"{RESULTS}/logs/resolve/{{network}}.log",
    localrule: True
    params:
        # Reruns when this network's values change, and not with the rest of the config.
        value=lambda wildcards: MEASURED[wildcards.network].hash,
    shell:
        "hitsr resolve {CONFIG_FILE} {wildcards.network} > {output} 2> {log}"


rule complexity:
    input:
        f"{RESULTS}/networks/{{network}}.json",
    output:
        f"{RESULTS}/records/complexity/{{network}}.json",
    log:
        f"{RESULTS}/logs/complexity/{{network}}.log",
    params:
        size=f"{WIDTH}x{HEIGHT}",
        code=fingerprint("models", "measure/complexity.py", "measure/census.py"),
    shell:
        "hitsr complexity {input} --output-size {params.size} --out {output} > {log} 2>&1"


rule latency:
    input:
        f"{RESULTS}/networks/{{network}}.json",
    output:
        f"{RESULTS}/records/latency/{{network}}.{{device}}.{{formulation}}.json",
    log:
        f"{RESULTS}/logs/latency/{{network}}.{{device}}.{{formulation}}.log",
    threads: workflow.cores  # all of them: never beside another job
    resources:
        gpu=lambda wildcards: int(wildcards.device == "cuda"),
    params:
        size=f"{WIDTH}x{HEIGHT}",
        warmup=LATENCY.warmup,
        samples=LATENCY.samples,
        code=fingerprint(
            "models",
            *(
                f"measure/{part}.py"
                for part in ("latency", "memory", "machine", "energy")
            ),
        ),
    shell:
        "hitsr latency {input} --output-size {params.size} --formulation {wildcards.formulation}"
        " --device {wildcards.device} --warmup {params.warmup} --samples {params.samples}"
        " --threads {threads} --out {output} 2>&1 | tee {log}"


rule latency_all:
    input:
        latency_records((2, 3, 4), ("paper", "fused")),
    localrule: True
