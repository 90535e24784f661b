"""The course of a training: its sessions, their devices and commits, and steps it skipped."""

from collections.abc import Sequence

from hitsr.records import Session, TrainingRecord
from hitsr.records.doubts import training_doubts
from hitsr.report.typeset import counted, fixed, number_word, sentence, share

# What the design of a step gives, and what it does not.
SAME_BITS = (
    "How many processes share a batch changes no bit of the weights; a device of another kind does."
)


def course_words(record: TrainingRecord) -> str:
    """ "in two sessions: steps 1 to 50 on A CPU, then 51 to 100 on 4 × A GPU; 3 steps skipped".

    Empty for a record of before sessions were recorded.
    """
    if not record.sessions:
        return ""
    count, skipped = len(record.sessions), len(record.skipped)
    words = f"in one session on {record.sessions[0].place}"
    if count > 1:
        commits = {session.commit for session in record.sessions}
        ran = [_session_words(session, len(commits) > 1) for session in record.sessions]
        words = f"in {number_word(count)} sessions: steps {', then '.join(ran)}"
    return f"{words}; {counted(skipped, 'step')} skipped" if skipped else words


def _session_words(session: Session, is_commit_said: bool) -> str:
    """ "1 to 50 on 4 × A GPU, commit 0123456789"."""
    by = f", commit {(session.commit or 'unknown')[:10]}" if is_commit_said else ""
    steps = f"{fixed(session.first_step)} to {fixed(session.last_step)}"
    return f"{steps} on {session.place}{by}"


def course_remarks(records: Sequence[TrainingRecord]) -> list[str]:
    """Sentences on trainings that went on after a stop, ran on several devices or skipped steps."""
    known = [record for record in records if record.sessions]
    resumed = [record for record in known if len(record.sessions) > 1]
    shared = [r for r in known if any(session.devices > 1 for session in r.sessions)]
    words = []
    if resumed:
        which = share(len(resumed), len(records), "training")
        were = "was" if len(resumed) == 1 else "were"
        words.append(sentence(f"{which} {were} stopped, and went on from a checkpoint."))
    if resumed or shared:
        words.append(SAME_BITS)
    if skipped := sum(len(record.skipped) for record in known):
        words.append(
            sentence(
                f"{counted(skipped, 'step')} {'was' if skipped == 1 else 'were'} skipped, as loss "
                "or gradient was not finite."
            )
        )
    return words


def doubtful_lines(records: Sequence[TrainingRecord]) -> list[str]:
    """ "hit_srf-x2-s1: 3 steps were skipped, …": each training that is doubtful, and why."""
    doubts = ((record.subject, training_doubts(record)) for record in records)
    return [f"{subject}: {'; '.join(words)}" for subject, words in doubts if words]


def course_lines(records: Sequence[TrainingRecord], most: int) -> list[str]:
    """How trainings went: those that were stopped or skipped steps by name, the others counted."""
    courses: dict[str, list[str]] = {}
    for record in records:
        if words := course_words(record):
            courses.setdefault(words, []).append(record.subject)
    alone = [f"{subjects[0]} {words}" for words, subjects in courses.items() if len(subjects) == 1]
    alike = [
        f"{counted(len(subjects), 'training')}, each {words}"
        for words, subjects in courses.items()
        if len(subjects) > 1
    ]
    more = [f"{len(alone) - most} more, as in sessions.csv"] if len(alone) > most else []
    sessions = [session for record in records for session in record.sessions]
    is_remarked = any(session.devices > 1 or session.first_step > 1 for session in sessions)
    return [*alike, *alone[:most], *more, *([SAME_BITS] if is_remarked else [])]
