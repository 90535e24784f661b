# Load the config and its plan, and find the job that a rule carries out.

REPORTS = shipped(Path("reports"))


# Jobs of this run share this machine's GPUs; a cluster gives each job its own. Which executor there
# is, is not known yet; but only those of clusters are given a number of jobs.
IS_HERE = workflow.is_main_process and workflow.nodes is None
if IS_HERE and gpu_names():
    os.environ[VISIBLE] = ",".join(gpu_names())  # every process numbers them alike


def _load():
    """The config's file, the checked config, all ablations, and the plan."""
    try:
        file = config_file(workflow.configfiles, workflow.config_settings.config)
        loaded, known = load_config(file), read_ablations()
        # A workflow that uses this one as a module could pass anything.
        if config and config != load_configfile(file):
            raise SpecError(
                f"{file}: a workflow that uses hitsr's as a module gives it other settings; name "
                "the file there with `configfile:`, and pass all of it: `config: config`"
            )
        return file, loaded, known, make_plan(loaded, known)
    except HitsrError as error:
        sys.exit(f"hitsr: {error}")


CONFIG_FILE, CONFIG, KNOWN_ABLATIONS, PLAN = _load()
LAYOUT = PLAN.layout
# Threads of one training, and of restoring and mapping; without training, all cores.
THREADS = CONFIG.train.threads if CONFIG.train else workflow.cores
# What their commands are told. Snakemake cuts {threads} down to the cores that it was given, and
# another number changes low bits of weights; fewer cores only make them slower.
TOLD_THREADS = str(CONFIG.train.threads) if CONFIG.train else "{threads}"

# Trainings of minutes go first, so that one process makes the pictures of all. Scores of trainings
# of hours should not wait for the last of them.
STEPS = [job.run.recipe.steps for job in PLAN.jobs if job.kind == "train"]
TRAIN_FIRST = 5 if max(STEPS, default=0) <= 2000 else 0
# Places on each GPU, as the profile says, else 1; jobs count them, and their commands lease them.
# Older versions of Snakemake keep the number itself.
EACH = workflow.global_resources.get("places_per_gpu")
EACH = int(getattr(EACH, "value", EACH) or 1)
LEASED = " --lease {params.lease}"
# The end of a command that also does similar jobs ahead of their turn.
ALONG = " --along {params.wanted:q}"
# A shell that was asked to end waits until its command has ended, which saves itself meanwhile.
# What shows and keeps the command's words ends with them.
PATIENT, DEAF = (f"trap {what} HUP INT TERM USR1; " for what in (":", "''"))
# The end of a command whose output goes to its log, and of one whose output is shown too. After a
# failure the log ends with a line that says so, and the screen shows the last lines.
FAILED = (
    f"{{{{ status=$PIPESTATUS; set +e; "  # of the command, whatever became of `tee`
    f'[ $status = 0 ] || echo "{MARK}$status" >> {{log:q}}; '
)
TO_LOG = f" > {{log:q}} 2>&1 || {FAILED} tail -n 20 {{log:q}} >&2; exit $status; }}}}"
TO_LOG_THEN_SCREEN = f"{TO_LOG} && cat {{log:q}}"
TO_LOG_AND_SCREEN = (
    f" 2>&1 | ({DEAF} exec tee {{log:q}}) || {FAILED} exit $status; }}}}"
)


@contextmanager
def writing(what):
    """Tell in a sentence what cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise WorkflowError(f"cannot write {what}: {error}") from None


# Job files must exist before Snakemake looks for them, since it caches which files exist. Only the
# main process writes them, and none that another pipeline is at work with.
if workflow.is_main_process:
    with writing("job files"):
        is_in_use = has_user(LAYOUT.results)
        JOBS = [noticed(job) for job in PLAN.jobs]
        for each in JOBS:
            file = LAYOUT.job(each.kind, each.name)
            if not (is_in_use and file.is_file()):
                each.save(file)


wildcard_constraints:
    name=FILE_NAME,
    dataset=FILE_NAME,
    scale="[234]",


# Files that jobs make: only these, whose names are ours, are inputs of rules. In the names of users'
# files Snakemake would take {x} and <x> for patterns.
MADE = {job.output for job in PLAN.jobs} | {
    LAYOUT.weights(job.name) for job in PLAN.jobs if job.kind == "train"
}


def own_environment(wildcards):
    """No conda environment for a job but Snakemake's own: hitsr plans it there, and so does it."""
    return None


def outputs(jobs):
    return [str(job.output) for job in jobs]


def job_of(kind, wildcards):
    """The job that a rule carries out, found by its output."""
    try:
        return PLAN.find(LAYOUT.output(kind, wildcards.name))
    except HitsrError as error:
        raise WorkflowError(str(error)) from None


def inputs_of(job):
    """Inputs of a rule: the job file, and the files that the job reads from other jobs."""
    made = {role: str(path) for role, path in job.inputs.items() if path in MADE}
    return {"job": str(LAYOUT.job(job.kind, job.name))} | made


def given(kind):
    """Parameter of a rule: the content of users' files that a job reads, such as weights."""

    def hashes(wildcards):
        read = {*job_of(kind, wildcards).inputs.values()} - MADE
        # Missing files are reported by onstart, so that a dry run works without them.
        return sorted(sha256(path) for path in read if path.is_file())

    return hashes


def asked(kind):
    """Input function of a rule for jobs of one kind."""
    return lambda wildcards: inputs_of(job_of(kind, wildcards))


def gpus(kind):
    """How many GPUs a job takes."""
    return lambda wildcards: int(job_of(kind, wildcards).device != "cpu")


def place(kind):
    """How many places on GPUs a job takes that needs no whole one: one, or none."""
    return lambda wildcards: IS_HERE * gpus(kind)(wildcards)


def processes(wildcards):
    """How many processes share a training."""
    job = job_of("train", wildcards)
    if job.gpus != "auto":
        return job.gpus
    return job.processes(device_kind(job.device), available_gpus())


def shared_by(wildcards):
    """How many GPUs share a training."""
    return gpus("train")(wildcards) * processes(wildcards)


def lease(wildcards, resources):
    """Places of a job on GPUs, and of each GPU; no other profile reruns what asks for resources."""
    return f"{resources.gpu_places}/{EACH}"


def batches(*kinds):
    """Yield (rule name, verb, jobs) for each batch of these kinds of jobs."""
    for name, jobs in cost_batches(PLAN.jobs).items():
        if jobs[0].kind in kinds:
            yield rule_name(name), jobs[0].kind.replace("_", "-"), jobs


def batch_inputs(jobs):
    """Input function of a batch: its job files, and the files that the jobs read."""

    def inputs(wildcards):
        found = [inputs_of(job) for job in jobs]
        read = [path for each in found for role, path in each.items() if role != "job"]
        return {"jobs": [each["job"] for each in found], "read": sorted({*read})}

    return inputs


def job_flags(wildcards, input):
    return [word for file in input.jobs for word in ("--job", file)]


def mapped(wildcards):
    """Records of all attribution maps of a set at a scale."""
    cell = (wildcards.dataset, wildcards.scale)
    found = [
        job
        for job in PLAN.jobs
        if isinstance(job, MapJob)
        and (file_name(job.dataset), str(job.subject.scale)) == cell
    ]
    if not found:
        raise WorkflowError(
            f"{CONFIG.name}: no maps of {wildcards.dataset} at x{wildcards.scale}; "
            "add both in the config's `lam`"
        )
    return outputs(found)


TEMPLATES = [sha256(path) for path in visible(REPORTS, "**/*") if path.is_file()]
REPORT_PAGE = LAYOUT.report / "index.html"
ABLATION_PAGE = LAYOUT.ablation_page("{name}")
PAGE_RULES = ("report", "ablation_page")
# Of each page, a text that changes when results that it shows were deleted.
with writing("what pages show"):
    LOST = {
        page: lost(LAYOUT, page, shown) if workflow.is_main_process else ""
        for page, shown in (
            (REPORT_PAGE, PLAN.reported),
            *(
                (LAYOUT.ablation_page(name), PLAN.asked_by(name))
                for name in PLAN.ablations
            ),
        )
    }


def ablation_inputs(wildcards):
    """Inputs of an ablation's page; an impossible ablation is an error that says why."""
    name = wildcards.name
    if name in PLAN.impossible:
        raise WorkflowError(PLAN.impossible[name])
    return outputs(PLAN.asked_by(name))


def set_as_its_kind(batch, kind):
    """Let a profile set resources and threads of batches by the kind of their jobs.

    It names kinds as it names rules, since names of batches follow from the config: what it says of
    `latency` is for every batch of latencies, and what it says of a batch comes first.
    """
    found, settings = workflow.get_rule(batch).resources, workflow.resource_settings
    for name in (kind, batch):
        found.update(settings.overwrite_resources.get(name, {}))
        if name in settings.overwrite_threads:
            found["_cores"] = settings.overwrite_threads[name]
