# Write the page of a config, and pages of single ablations, from records.


rule report:
    input:
        lambda wildcards: outputs(PLAN.reported),
    output:
        REPORT_PAGE,
    log:
        LAYOUT.log("report", "index"),
    localrule: True
    conda:
        own_environment
    params:
        # The page shows values of the config, so a changed config rewrites it.
        config=CONFIG.hash,
        # A function of the input, so that moving the file reruns nothing.
        config_file=lambda wildcards, input: CONFIG_FILE,
        ablations=[KNOWN_ABLATIONS[name].hash for name in CONFIG.ablations],
        code=code_of("report"),
        templates=TEMPLATES,
        # Results that hitsr advises to delete are made anew, though the page is there.
        lost=LOST[REPORT_PAGE],
    shell:
        "hitsr report {params.config_file:q}" + TO_LOG_THEN_SCREEN


rule ablation_page:
    input:
        ablation_inputs,
    output:
        ABLATION_PAGE,
    log:
        LAYOUT.log("report", "{name}"),
    localrule: True
    conda:
        own_environment
    params:
        config=CONFIG.hash,
        # A function of the input, so that moving the file reruns nothing.
        config_file=lambda wildcards, input: CONFIG_FILE,
        ablation=lambda wildcards: KNOWN_ABLATIONS[wildcards.name].hash,
        code=code_of("report"),
        templates=TEMPLATES,
        lost=lambda wildcards: LOST[LAYOUT.ablation_page(wildcards.name)],
    shell:
        "hitsr report {params.config_file:q} --only {wildcards.name:q}"
        + TO_LOG_THEN_SCREEN


# `snakemake ablation_<name>`, for every file of ablations/, runs its jobs and writes its page.
for ablation in KNOWN_ABLATIONS:

    rule:
        name:
            f"ablation_{ablation}"
        input:
            str(LAYOUT.ablation_page(ablation)),
        localrule: True
