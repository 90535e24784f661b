# `snakemake ablation_<name>` for every file of ablations/: its own runs, and its own page.


def ablation_records(name):
    """What an ablation's table is made of; one that this config cannot have says why."""
    if name in IMPOSSIBLE:
        raise WorkflowError(IMPOSSIBLE[name])
    rows = ABLATION_ROWS[name]
    names = dict.fromkeys(run.name for row in rows for run in row.runs)
    scale = min(CONFIG.train.scales)
    networks = dict.fromkeys(row.network.name for row in rows)
    timed = dict.fromkeys(
        network.name for row in rows for network in row.at_scales([min(LATENCY.scales)])
    )
    return [
        *training_files(names),
        *quality_records([*names, f"bicubic-x{scale}"]),
        *(f"{RESULTS}/records/complexity/{network}.json" for network in networks),
        *latency_records(timed, ("fused",)),
    ]


for name in KNOWN_ABLATIONS:

    rule:
        name:
            f"ablation_{name}"
        input:
            # A function: what this config cannot have is told only to who asks for it.
            (
                lambda wildcards, name=name: ablation_records(name)
                and f"{RESULTS}/report/ablations/{name}.html"
            ),
        localrule: True
