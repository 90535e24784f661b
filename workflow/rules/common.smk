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


def needed_jobs(rule, but_finished=True):
    """Jobs of a rule that will run; else also those that have run."""
    jobs = workflow.dag.needrun_jobs(exclude_finished=but_finished)
    return [job for job in jobs if job.rule.name == rule]


def wanted():
    """The processes that this run will start, if others may do their jobs ahead."""
    needed = {*workflow.dag.needrun_jobs()}
    for job in needed:
        jobs = PLAN.makers(job.output)
        if jobs and (sort := sort_of(jobs)):
            read = workflow.dag.dependencies[job].items()
            yield Wanted(
                sort=sort,
                jobs=[LAYOUT.job(each.kind, each.name) for each in jobs],
                log=job.log[0],
                made=[
                    file for maker, files in read if maker in needed for file in files
                ],
            )


def end_trainings_on(number):
    """Pass a signal to end on to trainings, which save themselves; then do as Snakemake does."""
    before = signal.getsignal(number)

    def end(*received):
        is_asked_to_end.set()
        for each in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it has ended meanwhile
                if each.cmdline()[2:4] == ["train", "--job"]:
                    each.send_signal(number)
        before(*received)

    signal.signal(number, end)


is_asked_to_end = threading.Event()

if workflow.remote_exec:
    # A job of a cluster does nothing but its training, which may so be put back into the queue. The
    # signal that asks for it reaches all processes of the job: this one waits for the training.
    os.environ[REQUEUE] = "1"
    signal.signal(signal.SIGUSR1, lambda *_: None)


def repeat_killed_jobs_only():
    """Let Snakemake's `retries` repeat jobs that were killed, not those that said what is wrong."""
    count_error = workflow.scheduler.error_callback

    def error_callback(job):
        elsewhere = not (workflow.local_exec or job.is_local)
        logs = [Path(log) for log in job.log]
        if is_asked_to_end.is_set() or not any(
            is_worth_repeating(log, elsewhere) for log in logs
        ):
            job.attempt = job.restart_times + 1  # the last
        count_error(job)

    workflow.scheduler.error_callback = error_callback


onstart:
    # Only now is it known that this is no dry run. The lock ends with this process: what a killed
    # pipeline left is no obstacle.
    try:
        atexit.register(become_sole_user(LAYOUT.results))
    except (HitsrError, OSError) as error:
        raise WorkflowError(str(error)) from None
    if any(not job.is_saved(LAYOUT.job(job.kind, job.name)) for job in JOBS):
        raise WorkflowError(
            f"{LAYOUT.results}: another pipeline changed job files meanwhile; repeat the command"
        )
    write_bytes(LAYOUT.config, CONFIG_FILE.read_bytes())
    # Jobs that a cluster runs may be on different machines, so each is left to its own process.
    write_wanted(LAYOUT.wanted, wanted() if workflow.local_exec else [])
    end_trainings_on(signal.SIGTERM)
    repeat_killed_jobs_only()
    # Report missing devices and data before the first job; a dry run works without either. Jobs that
    # a cluster runs find devices of their own.
    makers = PLAN.makers(
        file for job in workflow.dag.needrun_jobs() for file in job.output
    )
    is_drawn = any(getattr(job, "tensorboard", False) for job in makers)
    used = {getattr(job, "device", "cpu") for job in makers}
    sources = REPORTS / "published/sources.csv"
    sets = {
        job_of("prepare", job.wildcards).dataset for job in needed_jobs("prepare")
    }
    # Only the executor of Slurm has this setting.
    prefix = getattr(workflow.executor_settings, "jobname_prefix", None)
    missing = [
        missing_devices(used) if IS_HERE else left_to_this_machine(CONFIG),
        missing_gpus(makers) if IS_HERE else None,
        left_in_queue(prefix) if prefix else None,
        missing_tensorboard(is_drawn),
        missing_data(CONFIG, sources, sets) if sets else None,
        missing_weights(CONFIG, sources) if needed_jobs("restore") else None,
    ]
    if any(missing) and not workflow.touch:  # --touch makes nothing
        raise WorkflowError("\n".join(filter(None, missing)))
    if needed_jobs("train"):
        print(*recipe_words(CONFIG), sep="\n", file=sys.stderr)


def write_late_pages(failed):
    """Write the pages that were asked for, for the rest of the results."""
    for job in workflow.dag.needrun_jobs():
        if job.rule.name in PAGE_RULES and job not in failed:
            workflow.persistence.started(job)  # incomplete: the next run writes it anew
            Path(job.log[0]).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["bash", "-c", job.shellcmd])


def list_files():
    """Write the manifest of all results; what the jobs made stands without it."""
    try:
        write_manifest(LAYOUT)
    except OSError as error:
        print(f"hitsr: {LAYOUT.manifest}: not written: {error}", file=sys.stderr)


def say_sessions():
    """Say which trainings were saved and went on, as of a cluster nobody sees it happen."""
    for job in needed_jobs("train", but_finished=False):
        record = Path(job.output[0])
        sessions = read_json(record)["sessions"] if record.is_file() else []
        if len(sessions) > 1:
            begins = ", ".join(str(session["first_step"]) for session in sessions)
            words = f"train {job.wildcards.name}: {len(sessions)} sessions, from steps"
            print(words, begins, file=sys.stderr)


onsuccess:
    say_sessions()
    list_files()


onerror:
    say_sessions()
    failed = workflow.scheduler.failed
    if failed:  # not if a user stopped the pipeline
        for job in failed:
            publish_kept(PLAN.makers(job.output))
        if not is_asked_to_end.is_set():
            write_late_pages(failed)
        said = failure_lines(
            PLAN, [(job.name, job.log, job.output) for job in failed]
        )
        list_files()
        print(*said, sep="\n", file=sys.stderr)
