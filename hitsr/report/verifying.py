"""Verify a results folder: its files against the manifest, and what its records say of them.

Nothing is written, so that a read-only copy in any place can be verified.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hitsr.base.errors import RecordError
from hitsr.base.files import sha256
from hitsr.plan.layout import Layout
from hitsr.plan.manifest import Differences, compare_with_manifest, read_manifest
from hitsr.report.gather import Results, gather_folder
from hitsr.report.typeset import counted, listed

_NAMED = 20  # files of one folder before "and n more"
# What is deleted and made anew together, and what one does, by the first folder of a path. Of
# these, a job makes the files of a folder together.
_WHOLE = ("weights", "pictures", "lam")
_ANEW = "delete {} and rerun the pipeline"
_REMEDIES = {
    "jobs": "rerun the pipeline, which writes it",
    "tables": "repeat `hitsr collect`",
}


class Verified(NamedTuple):
    """What was found of a results folder."""

    files: int  # that are as listed
    results: Results
    list_problems: list[str]  # what the folder has otherwise than its manifest, as sentences

    @property
    def record_problems(self) -> list[str]:
        """Records that cannot be used, as sentences."""
        return self.results.problems

    @property
    def problems(self) -> list[str]:
        return [*self.list_problems, *self.record_problems]

    @property
    def words(self) -> str:
        """ "120 files are as listed, 34 records are sound"."""
        files, records = counted(self.files, "file"), counted(len(self.results.done), "record")
        return f"{files} {_is(self.files)} as listed, {records} {_is(len(self.results.done))} sound"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def verify(results: Path) -> Verified:
    """Verify a results folder such as results/demo; every file is read once."""
    layout = Layout(results)
    try:
        manifest, problems = read_manifest(layout), list[str]()
    except RecordError as error:
        manifest, problems = {}, [str(error)]
    differences = compare_with_manifest(layout, manifest)
    if not problems:
        problems = list(_told(layout, differences))
    as_listed = sum(differences.found.get(name) == digest for name, digest in manifest.items())

    def digest(path: Path) -> str:
        name = path.relative_to(results).as_posix()
        return differences.found.get(name) or sha256(path)

    found = gather_folder(results, digest)
    return Verified(
        files=as_listed,
        results=found,
        list_problems=problems,
    )


def _told(layout: Layout, found: Differences) -> Iterator[str]:
    """A sentence for each folder or file: what is wrong with it, and what to do."""
    for words, names in (("changed", found.changed), ("missing", found.missing)):
        for place, several in _by_place(names):
            yield f"{_named(layout, place, several, words)}; {_remedy(layout, place)}"
    for name, why in found.unreadable.items():
        yield f"{layout.results / name}: cannot be read: {why}; restore it from a copy"
    for place, several in _by_place(found.unlisted):
        yield (
            f"{_named(layout, place, several, 'not in the manifest')}; delete it, or, if it "
            f"belongs there, add it with `hitsr verify --update {layout.results}`"
        )


def _by_place(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Files by what is made anew with them: a folder of weights, of pictures, else the file."""
    places: dict[str, list[str]] = {}
    for name in names:
        first, *rest = name.split("/")
        whole = first in _WHOLE and len(rest) > 1 and rest[0] != "sheets"
        places.setdefault("/".join([first, rest[0]]) if whole else name, []).append(name)
    yield from places.items()


def _named(layout: Layout, place: str, names: Sequence[str], words: str) -> str:
    """ "results/demo/weights/a: log.jsonl and record.json: changed"."""
    if names == [place]:
        return f"{layout.results / place}: {words}"
    some = [name.removeprefix(f"{place}/") for name in names[:_NAMED]]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return f"{layout.results / place}: {listed([*some, *more])}: {words}"


def _remedy(layout: Layout, place: str) -> str:
    first, path = place.split("/")[0], layout.results / place
    if first == "logs" or path == layout.config:
        return (
            "no result depends on it; restore it from a copy, or list it as it is with `hitsr "
            f"verify --update {layout.results}`"
        )
    if first == "report":
        page = layout.report / "index.html"
        return (
            f"{_ANEW.format(page)}, or, if `hitsr report` wrote it, list it as it is with `hitsr "
            f"verify --update {layout.results}`"
        )
    return _REMEDIES.get(first, _ANEW.format(path))
