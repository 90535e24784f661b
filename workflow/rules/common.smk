# The config as values, and what the other files name by it.

# Named in commands and not in params: where the file lies reruns nothing.
CONFIG_FILE = workflow.configfiles[0]


def _load():
    """The checked config; errors without a traceback, in the words of hitsr."""
    if len(workflow.configfiles) > 1 or config != read_yaml(Path(CONFIG_FILE)):
        raise WorkflowError(
            "Settings come from one config file: copy one in configs/, change it, and name it "
            "with --configfile. (--config would give strings where lists and numbers are meant.)"
        )
    try:
        return load_config(Path(CONFIG_FILE))
    except HitsrError as error:
        raise WorkflowError(str(error)) from None


CONFIG = _load()
RESULTS = CONFIG.folder.as_posix()
REPORTS = Path(workflow.basedir) / "reports"
DATA = CONFIG.data.root.as_posix()
RUNS = runs(CONFIG)
MEASURED = scaled_networks(CONFIG, (2, 3, 4))
WIDTH, HEIGHT = CONFIG.efficiency.output_size
LATENCY = CONFIG.efficiency.latency
LATENCY_DEVICE = available_device(LATENCY.device)
TRAIN_DEVICE = available_device(CONFIG.train.device)
CONTROLS = ("bicubic", "hr")  # the least a network should reach, and the most it could
TEST_CELLS = [
    (method, dataset)
    for method in [
        *RUNS,
        *(
            f"{control}-x{scale}"
            for control in CONTROLS
            for scale in sorted(CONFIG.train.scales)
        ),
    ]
    for dataset in CONFIG.data.test
]


wildcard_constraints:
    run=r"[a-z0-9_.]+-x[234]-s\d+",
    network=r"[a-z0-9_.]+-x[234]",
    method=r"[a-z0-9_.]+-x[234](-s\d+)?",
    dataset=r"[A-Za-z0-9_]+",
    scale="[234]",
    device="cpu|cuda|mps",
    formulation="paper|fused",


def latency_records(scales, formulations):
    """Files of the latency cells of every network at some scales, in some formulations."""
    return [
        f"{RESULTS}/records/latency/{network}.{LATENCY_DEVICE}.{formulation}.json"
        for network in scaled_networks(CONFIG, scales)
        for formulation in formulations
    ]


def needs_pictures():
    """Whether any job that is to run reads pictures."""
    return any(job.rule.name == "prepare" for job in workflow.dag.needrun_jobs())


onstart:
    # A dry run works without data; a real one says at once what is missing.
    if needs_pictures() and (
        missing := missing_data(CONFIG, REPORTS / "published/sources.csv")
    ):
        raise WorkflowError(missing)
