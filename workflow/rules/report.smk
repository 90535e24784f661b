# Tables and the report, from records alone.


def quality_records(names):
    return [
        f"{RESULTS}/records/quality/{name}.{dataset}.json"
        for name in names
        for dataset in CONFIG.data.test
    ]


def training_files(names):
    return [
        f"{RESULTS}/weights/{name}/{file}"
        for name in names
        for file in ("record.json", "log.jsonl")
    ]


RECORDS = [
    *(
        f"{RESULTS}/records/complexity/{network}.json"
        for network in [*scaled_networks(CONFIG, CONFIG.efficiency.scales), *OWN]
    ),
    *latency_records(
        [
            *scaled_networks(CONFIG, LATENCY.scales),
            *(name for name in OWN if int(name[-1]) in LATENCY.scales),
        ],
        LATENCY.formulations,
        LATENCY.batches,
        LATENCY.dtypes,
    ),
    *training_files(runs(CONFIG)),
    *quality_records(METHODS),
    *(attribution_records(CONFIG.lam.sets, CONFIG.lam.scales) if CONFIG.lam else ()),
    *(
        f"{RESULTS}/records/scaling/{network}.{over}.json"
        for network in scaled_networks(
            CONFIG, (CONFIG.scaling.scale,) if CONFIG.scaling else ()
        )
        for over in CONFIG.scaling.over
    ),
    *scaling_times(CONFIG.scaling),
    *(file for name in CONFIG.ablations for file in ablation_records(name)),
]
TEMPLATES = sorted(str(path) for path in REPORTS.rglob("*") if path.is_file())
TABLES = (
    "efficiency",
    "quality",
    "quality_pictures",
    "training",
    "attribution",
    "scaling",
    "scaling_time",
    "throughput",
)


rule collect:
    input:
        RECORDS,
    output:
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
    log:
        f"{RESULTS}/logs/collect.log",
    localrule: True
    params:
        results=RESULTS,
        code=fingerprint("report", "records"),
    shell:
        "hitsr collect {params.results} > {log} 2>&1"


rule report:
    input:
        rules.collect.output,
        RECORDS,
        [
            f"{RESULTS}/pictures/{name}.{dataset}"
            for name in METHODS
            for dataset in CONFIG.data.test
        ],
        TEMPLATES,
    output:
        f"{RESULTS}/report/index.html",
    log:
        f"{RESULTS}/logs/report.log",
    localrule: True
    params:
        reports=REPORTS,
        ablations=[KNOWN_ABLATIONS[name].hash for name in CONFIG.ablations],
        code=fingerprint("report", "records", "specs/claims.py"),
    shell:
        "hitsr report {CONFIG_FILE} --reports {params.reports} --ablations {ABLATIONS}"
        " > {log} 2>&1 && cat {log}"


rule ablation_page:
    input:
        lambda wildcards: ablation_records(wildcards.ablation),
        TEMPLATES,
    output:
        f"{RESULTS}/report/ablations/{{ablation}}.html",
    log:
        f"{RESULTS}/logs/ablations/{{ablation}}.log",
    localrule: True
    params:
        reports=REPORTS,
        ablation=lambda wildcards: KNOWN_ABLATIONS[wildcards.ablation].hash,
        code=fingerprint("report", "records"),
    shell:
        "hitsr report {CONFIG_FILE} --reports {params.reports} --ablations {ABLATIONS}"
        " --only {wildcards.ablation} > {log} 2>&1 && cat {log}"
