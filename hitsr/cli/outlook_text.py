"""What a config will take, as text for people: tables that fit 80 columns, and sentences."""

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from hitsr.base.files import size_words
from hitsr.cli.tables import table
from hitsr.plan.outlook import KindRow, Outlook, ReasonRow, TrainingRow

_NAMES_SHOWN = 3
_NARROWEST, _WIDEST = 50, 100
_BASIS = {
    "measured": "measured",
    "table": "from hitsr's table",
    "estimate": "estimated",
}


def to_text(found: Outlook) -> str:
    """All of it; lines are as wide as the terminal, and at most 100 characters."""
    sections = (
        _head(found),
        _jobs(found),
        _trainings(found),
        _time(found),
        _disk(found),
        _order(found),
        _why(found),
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)


def _head(found: Outlook) -> Iterator[str]:
    yield from _wrapped(f"{found.name}: {found.title}")
    gpus = f"{found.gpus} × {found.device}, " if found.gpus else f"{found.device}, no GPU, "
    yield from _wrapped(f"results in {found.results}; planned for {gpus}{found.cores} cores")


def _jobs(found: Outlook) -> Iterator[str]:
    head = ("jobs", "done", "to do", "failed", "goes on", "device time")
    rows = [
        (
            row.kind,
            *(str(count) for count in (row.done, row.to_do, row.failed, row.continued)),
            _kind_time(row),
        )
        for row in found.kinds
    ]
    sums = [
        str(sum(getattr(row, name) for row in found.kinds))
        for name in ("done", "to_do", "failed", "continued")
    ]
    total = _span(found.device_hours, is_least=bool(found.unknown))
    yield table([head, *rows, ("all", *sums, total)], names=1)


def _kind_time(row: KindRow) -> str:
    left = row.to_do + row.failed + row.continued
    if row.unknown == left:
        return "unknown" if left else "-"
    return _span(row.device_hours, is_least=bool(row.unknown))


def _trainings(found: Outlook) -> Iterator[str]:
    if not found.trainings:
        return
    yield "Trainings that are to take steps:"
    head = ("run", "runs", "steps", "s a step", "device time", "")
    rows = []
    notes: dict[str, str] = {}
    for row in found.trainings:
        note, per_step = _note(row), row.device_seconds_per_step
        mark = notes.setdefault(note, chr(ord("a") + len(notes) % 26))
        rows.append(
            (
                row.runs[0],
                str(len(row.runs)),
                f"{row.steps:,}",
                "unknown" if per_step is None else f"{per_step:.3g}",
                "unknown" if row.device_hours is None else _span(row.device_hours),
                mark,
            )
        )
    yield table([head, *rows], names=1)
    for note, mark in notes.items():
        yield from _wrapped(f"{mark}: {note}", 3)


def _note(row: TrainingRow) -> str:
    if row.basis is None:
        return (
            "nobody has measured such steps on this device; `--measure` times some now, and keeps "
            "what they take for this plan and the next"
        )
    return f"{_BASIS[row.basis]}: {row.source}"


def _time(found: Outlook) -> Iterator[str]:
    least = "at least " if found.unknown else ""
    what = "Device time" if found.gpus else "Processor time"
    clock = _span(found.clock_hours)
    yield from _wrapped(
        f"{what}: {least}{_span(found.device_hours)}. By the clock: {least}{clock}, if each "
        "job starts as soon as there is room for it."
    )
    if absent := [f"{row.unknown} {row.kind}" for row in found.kinds if row.unknown]:
        yield from _wrapped(f"Not in it, since their time is unknown: {', '.join(absent)}.")
    if found.longest_chain:
        yield from _wrapped(
            f"The longest chain takes {_span(found.longest_chain.hours)}, however many machines "
            f"there are: {', then '.join(found.longest_chain.jobs)}."
        )


def _disk(found: Outlook) -> Iterator[str]:
    if not found.needs:
        return
    head = ("disk", "needed", "of unknown size", "in")
    rows = [
        (
            need.what,
            f"{'at most ' * need.is_most}{size_words(need.bytes)}" if need.bytes else "-",
            str(need.unknown or "-"),
            str(need.folder),
        )
        for need in found.needs
    ]
    yield table([head, *rows], names=1)
    for disk in found.disks:
        needed, free = size_words(disk.needed_bytes), size_words(disk.free_bytes)
        places = ", ".join(map(str, disk.folders))
        more = " besides what is unknown" if any(need.unknown for need in found.needs) else ""
        words = "" if disk.suffices else ": THIS DOES NOT FIT, make room"
        yield from _wrapped(f"{needed} are needed{more}, {free} are free for {places}{words}")


def _order(found: Outlook) -> Iterator[str]:
    if not found.order:
        return
    yield "Order; jobs of a line can run side by side, once those above are done:"
    for row in found.order:
        hours = f" ({_span(row.device_hours)} of devices)" if row.device_hours else ""
        yield from _wrapped(f"{row.level}. {_counts(row.jobs)}{hours}", 3)
    yield f"{len(found.order) + 1}. report"


def _why(found: Outlook) -> Iterator[str]:
    if not found.reasons:
        yield "Nothing is to be done."
        return
    yield "Why:"
    for row in found.reasons:
        yield from _wrapped(f"- {row.reason}: {_named(row)}", 2)


def _named(row: ReasonRow) -> str:
    """ "2 train (hit_sir-x2-s1, hit_sng-x2-s1), 4 quality"; a few names, of jobs once made."""
    parts = []
    for kind, names in row.jobs.items():
        few = len(names) <= _NAMES_SHOWN and row.reason != "was not made yet"
        parts.append(f"{len(names)} {kind}" + (f" ({', '.join(names)})" if few else ""))
    return ", ".join(parts)


def _counts(jobs: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in jobs.items())


def _span(hours: float, is_least: bool = False) -> str:
    """ "0", "42 s", "12 min", "3.5 h", "4,178 h"; what is known of a sum begins with ≥."""
    seconds = hours * 3600
    if seconds < 0.5:
        text = "0"
    elif seconds < 60:
        text = f"{seconds:.0f} s"
    elif hours < 1:
        text = f"{seconds / 60:.0f} min"
    else:
        text = f"{hours:,.0f} h" if hours >= 100 else f"{hours:.1f} h"
    return f"≥ {text}" if is_least else text


def _wrapped(text: str, indent: int = 0) -> Sequence[str]:
    """Lines of a sentence; those after the first are indented. Names are not broken."""
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    return textwrap.wrap(
        text, width, subsequent_indent=" " * indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
