# Tables and the report, from records alone.

RECORDS = [
    *(
        f"{RESULTS}/records/complexity/{network}.json"
        for network in scaled_networks(CONFIG, CONFIG.efficiency.scales)
    ),
    *latency_records(LATENCY.scales, LATENCY.formulations),
    *(f"{RESULTS}/weights/{run}/record.json" for run in RUNS),
    *(
        f"{RESULTS}/records/quality/{method}.{dataset}.json"
        for method, dataset in TEST_CELLS
    ),
]
TABLES = ("efficiency", "quality", "quality_pictures", "training")


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
        code=fingerprint("report", "records.py"),
    shell:
        "hitsr collect {params.results} > {log} 2>&1"


rule report:
    input:
        rules.collect.output,
        RECORDS,
        [f"{RESULTS}/weights/{run}/log.jsonl" for run in RUNS],
        [f"{RESULTS}/pictures/{method}.{dataset}" for method, dataset in TEST_CELLS],
        sorted(str(path) for path in REPORTS.rglob("*") if path.is_file()),
    output:
        f"{RESULTS}/report/index.html",
    log:
        f"{RESULTS}/logs/report.log",
    localrule: True
    params:
        reports=REPORTS,
        code=fingerprint("report", "records.py"),
    shell:
        "hitsr report {CONFIG_FILE} --reports {params.reports} > {log} 2>&1 && cat {log}"
