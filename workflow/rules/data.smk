# The sets of pairs that this config names.


rule prepare:
    output:
        f"{RESULTS}/data/{{dataset}}-x{{scale}}.json",
    log:
        f"{RESULTS}/logs/prepare/{{dataset}}-x{{scale}}.log",
    priority: 10  # what is missing should be known first
    localrule: True
    threads: workflow.cores
    params:
        source=lambda wildcards: (
            f"wheels --split {wildcards.dataset}"
            if CONFIG.data.source == "wheels"
            else f"{DATA}/{wildcards.dataset}"
        ),
        folder=f"{DATA}/{{dataset}}",
        # Once, before the runs that read them start side by side.
        packs=lambda wildcards: (
            f"--packs {PACKS}"
            if CONFIG.train
            and wildcards.dataset in (CONFIG.data.train, CONFIG.data.validation)
            else ""
        ),
        code=fingerprint(
            "data/bicubic.py", "data/images.py", "data/packs.py", "data/sources.py"
        ),
    shell:
        "hitsr prepare {params.source} --out {params.folder} --scale {wildcards.scale}"
        " {params.packs} --manifest {output} > {log} 2>&1 || {{ tail -n 20 {log} >&2; exit 1; }}"
