"""Verbs about results that are kept: verify, archive."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from hitsr.base.errors import SpecError
from hitsr.base.shipped import SHIPPED
from hitsr.base.writers import become_sole_user
from hitsr.cli import options
from hitsr.cli.options import say
from hitsr.plan.layout import Layout
from hitsr.plan.manifest import write_manifest
from hitsr.specs.ablation import ablation_folders
from hitsr.specs.config import load_config

_SHOWN = 5
Results = Annotated[Path, Argument(help="results folder, such as results/demo")]


def verify(
    results: Results,
    update: Annotated[
        bool,
        Option("--update", help="write the manifest anew, of the files as they are"),
    ] = False,
) -> None:
    """Check every file of a results folder against its manifest, and every record's own ties.

    A record is tied to its job, and to the weights, logs, pictures and maps beside
    it. Without --update nothing is written. Exit status 1 if anything is wrong; what,
    where, and what to do is told on stderr. With --update, files that the manifest
    does not list or lists otherwise are accepted, and records that cannot be used are
    not.
    """
    _check_folder(results)
    from hitsr.report import verifying

    with ExitStack() as held:
        if update:
            held.enter_context(_alone(results))
        found = verifying.verify(results)
        wrong = found.record_problems if update else found.problems
        for problem in found.problems:
            say(f"hitsr: {problem}")
        if not wrong and update:
            write_manifest(Layout(results))
            found = verifying.verify(results)
    print(f"{results}: {found.words}")
    raise typer.Exit(1 if wrong else 0)


def _check_folder(results: Path) -> None:
    if not results.is_dir():
        raise SpecError(
            f"{results.absolute()}: no such folder; name a results folder such as results/demo"
        )
    if not (results / "jobs").is_dir():
        raise SpecError(
            f"{results}: no results folder: no folder jobs is in it; name one such as results/demo"
        )


@contextmanager
def _alone(results: Path) -> Iterator[None]:
    """Keep pipelines out of a folder inside the block; HitsrError if one is at work in it.

    In a folder beside which no lock can be made, such as a read-only copy, none can work either.
    """
    with ExitStack() as held:
        with suppress(OSError):
            held.callback(become_sole_user(results))
        yield


def archive(
    results: Results,
    out: Annotated[Path, Option(help="a new file .zip, or a new folder")],
    author: Annotated[
        list[str] | None,
        Option(help="'Ada Lovelace <https://orcid.org/0000-0002-1825-0097>'; repeatable"),
    ] = None,
    license_: Annotated[
        str | None,
        Option("--license", help="of the results: an SPDX identifier such as CC-BY-4.0, or a URL"),
    ] = None,
    published: Annotated[
        datetime | None, Option(help="date of publication; default: today", formats=["%Y-%m-%d"])
    ] = None,
    weights: Annotated[bool, Option(help="pack the weights of trainings")] = True,
    pictures: Annotated[bool, Option(help="pack the upscaled pictures of sets")] = False,
    unverified: Annotated[
        bool, Option("--unverified", help="pack also what `hitsr verify` finds wrong")
    ] = False,
    ablations: options.Ablations = options.ABLATIONS,
) -> None:
    """Pack a results folder as an RO-Crate, for an archive with a DOI.

    The crate holds the results, their report, config, pipeline and ablations, the code of
    your own networks, and a file that describes all of it for machines. Pictures of data
    sets are never packed, but named with their hashes; checkpoints are never packed.
    The page and the attribution maps show parts of pictures.
    """
    _check_folder(results)
    layout = Layout(results)
    if not layout.config.is_file():
        raise SpecError(
            f"{layout.config}: no such file; the pipeline writes it: rerun that, or copy the "
            "config there that made the results"
        )
    config = load_config(layout.config)
    if not author:
        raise SpecError("name who made the results: --author 'Ada Lovelace <https://orcid.org/…>'")
    if license_ is None:
        raise SpecError("name on what terms others may use the results: --license CC-BY-4.0")
    from hitsr.report import verifying
    from hitsr.report.index import Summary
    from hitsr.share import crate

    authors = tuple(map(crate.Author.parse, author))
    terms = crate.License.parse(license_)
    with _alone(results):
        found = verifying.verify(results)
        for problem in found.problems:
            say(f"hitsr: {problem}")
        if found.problems and not unverified:
            raise SpecError(
                f"{results}: not packed; mend what is wrong, or pack it with --unverified"
            )
        summary = Summary.load(layout.report)
        done = found.results.done
        described = crate.Described(
            authors=authors,
            license=terms,
            published=(published or datetime.now()).date(),
            title=summary.title if summary else config.title,
            abstract=" ".join(summary.abstract) if summary else "",
            machine=summary.machine if summary else "",
        )
        folders = {"workflow": [_workflow()], "ablations": ablation_folders(ablations)}
        content = crate.content_of(layout, config, crate.Chosen(weights, pictures), folders)
        count = crate.pack(
            content,
            out,
            described,
            [result.job for result in done],
            [result.record for result in done],
        )
    print(f"{out}: {count} files")
    home = Path(os.path.expanduser("~"))  # which stays "~" for a user without one
    if naming := crate.naming_folders(content.files, [home, Path.cwd()]):
        few = ", ".join([*naming[:_SHOWN], *(["..."] if len(naming) > _SHOWN else [])])
        say(f"{len(naming)} of them name folders of this machine; read them first: {few}")


def _workflow() -> Path:
    """The folder of the pipeline: the one here, as Snakemake takes it, else hitsr's."""
    here = Path("workflow")
    return here if (here / "Snakefile").is_file() else SHIPPED / here
