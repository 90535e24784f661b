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
        code=fingerprint("data/bicubic.py", "data/images.py", "data/sources.py"),
    shell:
        "hitsr prepare {params.source} --out {params.folder} --scale {wildcards.scale}"
        " --manifest {output} > {log} 2>&1 || {{ tail -n 20 {log} >&2; exit 1; }}"
