# Write the page of a config, and pages of single ablations, from records.

TEMPLATES = [sha256(path) for path in visible(REPORTS, "**/*") if path.is_file()]
ABLATION_PAGE = LAYOUT.ablation_page("{name}")
PAGE_RULES = ("report", "ablation_page")
# Of each page, a text that changes when results that it shows were deleted.
LOST = {
    page: lost(LAYOUT, page, shown) if workflow.is_main_process else ""
    for page, shown in (
        (LAYOUT.report / "index.html", PLAN.reported),
        *((LAYOUT.ablation_page(name), PLAN.asked_by(name)) for name in PLAN.ablations),
    )
}


rule report:
    input:
        lambda wildcards: outputs(PLAN.reported),
    output:
        LAYOUT.report / "index.html",
    log:
        LAYOUT.log("report", "index"),
    localrule: True
    params:
        # The page shows values of the config, so a changed config rewrites it.
        config=CONFIG.hash,
        ablations=[KNOWN_ABLATIONS[name].hash for name in CONFIG.ablations],
        code=code_of("report"),
        templates=TEMPLATES,
        # Results that hitsr advises to delete are made anew, though the page is there.
        lost=LOST[LAYOUT.report / "index.html"],
    shell:
        "hitsr report {CONFIG_FILE:q}" + TO_LOG + " && cat {log:q}"


def ablation_inputs(wildcards):
    """Inputs of an ablation's page; an impossible ablation is an error that says why."""
    name = wildcards.name
    if name in PLAN.impossible:
        raise WorkflowError(PLAN.impossible[name])
    return outputs(PLAN.asked_by(name))


rule ablation_page:
    input:
        ablation_inputs,
    output:
        ABLATION_PAGE,
    log:
        LAYOUT.log("report", "{name}"),
    localrule: True
    params:
        config=CONFIG.hash,
        ablation=lambda wildcards: KNOWN_ABLATIONS[wildcards.name].hash,
        code=code_of("report"),
        templates=TEMPLATES,
        lost=lambda wildcards: LOST[LAYOUT.ablation_page(wildcards.name)],
    shell:
        "hitsr report {CONFIG_FILE:q}"
        " --only {wildcards.name:q}" + TO_LOG + " && cat {log:q}"


# `snakemake ablation_<name>`, for every file of ablations/, runs its jobs and writes its page.
for ablation in KNOWN_ABLATIONS:

    rule:
        name:
            f"ablation_{ablation}"
        input:
            str(LAYOUT.ablation_page(ablation)),
        localrule: True
