# What published-size networks cost: complexity, latency, and how both grow.


LATENCIES = f"{RESULTS}/records/latency"


def own_file(network):
    """The file of a network of one's own: what it is made from; else the resolved spec."""
    if network not in OWN:
        return f"{RESULTS}/networks/{network}.json"
    return list(OWN[network].files)


def subject(network):
    """How the verbs name a network: its resolved file, or the source of one's own."""
    if network not in OWN:
        return f"{RESULTS}/networks/{network}.json"
    return f"{OWN[network].source} --name {network.rpartition('-x')[0]}"


def latency_records(networks, formulations, batches=(), dtypes=()):
    """Files of latencies: one picture in float32, and each batch and dtype beside it."""
    special = [
        (batch, dtype) for batch in batches for dtype in (dtypes or ("float32",))
    ]
    special += [(1, dtype) for dtype in dtypes if dtype != "float32"]
    return [
        f"{LATENCIES}/{network}.{setup}.json"
        for network in networks
        for form in ((None,) if network in OWN else formulations)
        for setup in dict.fromkeys(
            latency_setup(LATENCY_DEVICE, form, *special_one)
            for special_one in [(1, "float32"), *special]
        )
    ]


# Networks whose formulations are timed in turns; all others have but one.
IN_TURNS = scaled_networks(CONFIG, (2, 3, 4)) if len(LATENCY.formulations) > 1 else {}


def load_flags(wildcards):
    """`.b4.float16` as options."""
    parts = wildcards.load.split(".")[1:]
    is_batch = [part[0] == "b" and part[1:].isdecimal() for part in parts]
    return " ".join(
        f"--batch {part[1:]}" if batch else f"--dtype {part}"
        for part, batch in zip(parts, is_batch)
    )


def formulation_flag(wildcards):
    return "" if wildcards.network in OWN else f"--formulation {wildcards.formulation}"


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
        "hitsr resolve {CONFIG_FILE} {wildcards.network} --ablations {ABLATIONS}"
        " > {output} 2> {log}"


rule complexity:
    input:
        lambda wildcards: own_file(wildcards.network),
    output:
        f"{RESULTS}/records/complexity/{{network}}.json",
    log:
        f"{RESULTS}/logs/complexity/{{network}}.log",
    params:
        subject=lambda wildcards: subject(wildcards.network),
        scale=lambda wildcards: wildcards.network[-1],
        size=f"{WIDTH}x{HEIGHT}",
        code=fingerprint("models", "measure/complexity.py", "measure/census.py"),
    shell:
        "hitsr complexity {params.subject} --scale {params.scale} --output-size {params.size}"
        " --out {output} > {log} 2>&1"


rule latency:
    input:
        lambda wildcards: own_file(wildcards.network),
    output:
        f"{LATENCIES}/{{network}}.{{device}}.{{formulation}}{{load}}.json",
    log:
        f"{RESULTS}/logs/latency/{{network}}.{{device}}.{{formulation}}{{load}}.log",
    threads: workflow.cores  # all of them: never beside another job
    resources:
        gpu=lambda wildcards: int(wildcards.device == "cuda"),
    params:
        subject=lambda wildcards: subject(wildcards.network),
        scale=lambda wildcards: wildcards.network[-1],
        size=f"{WIDTH}x{HEIGHT}",
        formulation=formulation_flag,
        load=load_flags,
        warmup=LATENCY.warmup,
        samples=LATENCY.samples,
        folder=LATENCIES,
        code=fingerprint(
            "models",
            *(
                f"measure/{part}.py"
                for part in (
                    "latency",
                    "forwards",
                    "fresh",
                    "machine",
                    "energy",
                )
            ),
            "runtime/memory.py",
        ),
    shell:
        "hitsr latency {params.subject} --scale {params.scale} --output-size {params.size}"
        " --device {wildcards.device} {params.formulation} {params.load}"
        " --warmup {params.warmup} --samples {params.samples}"
        " --threads {threads} --out-dir {params.folder} 2>&1 | tee {log}"


# Both formulations in one job, so that their ratio is of neighbours.
use rule latency as latency_in_turns with:
    output:
        f"{LATENCIES}/{{network}}.{{device}}.paper{{load}}.json",
        f"{LATENCIES}/{{network}}.{{device}}.fused{{load}}.json",
    log:
        f"{RESULTS}/logs/latency/{{network}}.{{device}}.in_turns{{load}}.log",
    wildcard_constraints:
        network="|".join(map(re.escape, IN_TURNS)) or "none",
    params:
        formulation="--formulation paper,fused",


ruleorder: latency_in_turns > latency


rule latency_all:
    input:
        latency_records(scaled_networks(CONFIG, (2, 3, 4)), LATENCY.formulations),
    localrule: True


rule scaling:
    input:
        f"{RESULTS}/networks/{{network}}.json",
    output:
        f"{RESULTS}/records/scaling/{{network}}.{{over}}.json",
    log:
        f"{RESULTS}/logs/scaling/{{network}}.{{over}}.log",
    params:
        code=fingerprint(
            "models",
            "measure/complexity.py",
            "measure/census.py",
            "measure/scaling.py",
        ),
    shell:
        "hitsr scaling {input} --over {wildcards.over} --out {output} > {log} 2>&1"


def scaling_times(scaling):
    """Files of times over sizes; none where they are not asked for."""
    return [
        f"{RESULTS}/records/scaling_time/{network}.{LATENCY_DEVICE}.fused.json"
        for network in scaled_networks(CONFIG, (scaling.scale,) if scaling else ())
        if scaling.samples
    ]


rule scaling_time:
    input:
        f"{RESULTS}/networks/{{network}}.json",
    output:
        f"{RESULTS}/records/scaling_time/{{network}}.{{device}}.{{formulation}}.json",
    log:
        f"{RESULTS}/logs/scaling_time/{{network}}.{{device}}.{{formulation}}.log",
    threads: workflow.cores  # all of them: never beside another job
    resources:
        gpu=lambda wildcards: int(wildcards.device == "cuda"),
    params:
        scale=lambda wildcards: wildcards.network[-1],
        over=lambda _: (
            f"--over {CONFIG.scaling.over[0]}" if len(CONFIG.scaling.over) == 1 else ""
        ),
        warmup=LATENCY.warmup,
        samples=lambda _: CONFIG.scaling.samples,
        code=fingerprint(
            "models",
            "measure/latency.py",
            "measure/forwards.py",
            "measure/scaling.py",
        ),
    shell:
        "hitsr scaling-time {input} --scale {params.scale} {params.over}"
        " --formulation {wildcards.formulation} --device {wildcards.device}"
        " --warmup {params.warmup} --samples {params.samples}"
        " --threads {threads} --out {output} 2>&1 | tee {log}"
