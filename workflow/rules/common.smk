# The config as values, and what the other files name by it.

# Named in commands and not in params: where the file lies reruns nothing.
CONFIG_FILE = workflow.configfiles[0]
ROOT = Path(workflow.basedir)
REPORTS, ABLATIONS = ROOT / "reports", ROOT / "ablations"


def _load():
    """The checked config and the ablations it names; errors in the words of hitsr alone."""
    if len(workflow.configfiles) > 1 or config != read_yaml(Path(CONFIG_FILE)):
        raise WorkflowError(
            "Settings come from one config file: copy one in configs/, change it, and name it "
            "with --configfile. (--config would give strings where lists and numbers are meant.)"
        )
    try:
        loaded, known = load_config(Path(CONFIG_FILE)), read_ablations(ABLATIONS)
        pick(loaded.ablations, known, CONFIG_FILE)
    except HitsrError as error:
        raise WorkflowError(str(error)) from None
    return loaded, known


def _rows():
    """Rows of each ablation that this config can have, and why it cannot have the others."""
    rows, reasons = {}, {}
    for name, each in KNOWN_ABLATIONS.items():
        try:
            rows[name] = ablation_rows(name, each, CONFIG)
        except HitsrError as error:
            if name in CONFIG.ablations:
                raise WorkflowError(str(error)) from None
            reasons[name] = str(error)
    return rows, reasons


CONFIG, KNOWN_ABLATIONS = _load()
ABLATION_ROWS, IMPOSSIBLE = _rows()
RESULTS = CONFIG.folder.as_posix()
DATA = CONFIG.data.root.as_posix()
PACKS = (CONFIG.data.packs or CONFIG.data.root / "packs").as_posix()
ALL_ROWS = [row for rows in ABLATION_ROWS.values() for row in rows]
# Every run and network that anything here may ask for.
RUNS = runs(CONFIG) | {run.name: run for row in ALL_ROWS for run in row.runs}
MEASURED = scaled_networks(CONFIG, (2, 3, 4)) | {
    network.name: network for row in ALL_ROWS for network in row.at_scales((2, 3, 4))
}
METHODS = methods(CONFIG)
SCORED = METHODS | {name: trained(run) for name, run in RUNS.items()}
OWN = {
    f"{name}-x{scale}": own for name, own in CONFIG.own.items() for scale in own.scales
}
WIDTH, HEIGHT = CONFIG.efficiency.output_size
LATENCY = CONFIG.efficiency.latency
LATENCY_DEVICE = available_device(LATENCY.device)
TRAIN_DEVICE = available_device(CONFIG.train.device if CONFIG.train else LATENCY.device)
THREADS = CONFIG.train.threads if CONFIG.train else workflow.cores


wildcard_constraints:
    run=r"[a-z0-9_.]+-x[234]-s\d+",
    network=r"[a-z0-9_.]+-x[234]",
    method=r"[a-z0-9_.]+-x[234](-s\d+)?",
    dataset=r"[A-Za-z0-9_]+",
    ablation=r"[a-z0-9_]+",
    scale="[234]",
    device="cpu|cuda|mps",
    formulation="paper|fused|own",
    load=r"(\.[a-z0-9_]+)*",
    over="window|picture",


def needed_jobs(rule):
    """The jobs of one rule that are to run."""
    return [job for job in workflow.dag.needrun_jobs() if job.rule.name == rule]


onstart:
    # A dry run works without data; a real one says at once what is missing.
    sources = REPORTS / "published/sources.csv"
    sets = {job.wildcards.dataset for job in needed_jobs("prepare")}
    missing = [
        missing_data(CONFIG, sources, sets) if sets else None,
        missing_weights(CONFIG, sources) if needed_jobs("restore") else None,
    ]
    if any(missing):
        raise WorkflowError("\n".join(filter(None, missing)))
