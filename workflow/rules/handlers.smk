# What happens around the jobs: before the first, when one fails or a signal comes, after the last.


def needed_jobs(rule):
    """Jobs of a rule that will run."""
    return [job for job in workflow.dag.needrun_jobs() if job.rule.name == rule]


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


def end_beside(*received, end=JobScheduler.exit_gracefully):
    """Snakemake's answer to SIGTERM, in a thread of its own.

    It takes a lock that the thread of the signal holds while it chooses jobs or tells of errors, and
    would wait for itself, for good: in a pipeline, and in a job of a cluster.
    """
    threading.Thread(target=end, args=received).start()


JobScheduler.exit_gracefully = end_beside


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
    begun_ns = (
        LAYOUT.config.stat().st_mtime_ns
    )  # by the clock of the disk with the logs

    def error_callback(job):
        elsewhere = not (workflow.local_exec or job.is_local)
        logs = [Path(log) for log in job.log]
        if is_asked_to_end.is_set() or not any(
            is_worth_repeating(log, elsewhere, begun_ns) for log in logs
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
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        if job.rule.name != "train" or not workflow.dag.finished(job):
            continue
        sessions = read_json(Path(job.output[0])).get("sessions", [])
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
