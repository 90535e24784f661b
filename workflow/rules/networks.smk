# What published-size networks cost: complexity, latency, and how both grow.


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
        f"{RESULTS}/records/latency/{network}.{setup}.json"
        for network in networks
        for form in ((None,) if network in OWN else formulations)
        for setup in dict.fromkeys(
            latency_setup(LATENCY_DEVICE, form, *special_one)
            for special_one in [(1, "float32"), *special]
        )
    ]


def setup_flags(wildcards):
    """`cpu.fused.b4.float16` as options."""
    device, formulation, *rest = wildcards.setup.split(".")
    flags = [f"--device {device}"]
    if wildcards.network not in OWN:
        flags.append(f"--formulation {formulation}")
    for part in rest:
        is_batch = part[0] == "b" and part[1:].isdecimal()
        flags.append(f"--batch {part[1:]}" if is_batch else f"--dtype {part}")
    return " ".join(flags)


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
        f"{RESULTS}/records/latency/{{network}}.{{setup}}.json",
    log:
        f"{RESULTS}/logs/latency/{{network}}.{{setup}}.log",
    threads: workflow.cores  # all of them: never beside another job
    resources:
        gpu=lambda wildcards: int(wildcards.setup.startswith("cuda")),
    params:
        subject=lambda wildcards: subject(wildcards.network),
        scale=lambda wildcards: wildcards.network[-1],
        size=f"{WIDTH}x{HEIGHT}",
        setup=setup_flags,
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
        "hitsr latency {params.subject} --scale {params.scale} --output-size {params.size}"
        " {params.setup} --warmup {params.warmup} --samples {params.samples}"
        " --threads {threads} --out {output} 2>&1 | tee {log}"


rule latency_all:
    input:
        latency_records(scaled_networks(CONFIG, (2, 3, 4)), ("paper", "fused")),
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
