"""Names of all result files. Only this module makes them, and no module parses them."""

import re
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from hitsr.base.names import cut_name

Kind = Literal[
    "prepare",
    "train",
    "restore",
    "quality",
    "complexity",
    "latency",
    "scaling",
    "scaling_time",
    "lam",
]


_KEPT = " !#$&'()+,;=@[]^`"  # besides letters, digits and .-_~
FILE_NAME = rf"[A-Za-z0-9._~%{re.escape(_KEPT)}-]+"  # pattern of what `file_name` returns
_LONGEST = 180  # file systems allow 255; endings and temporary files add some


def file_name(text: str) -> str:
    """Text as a file name: the end of a long one becomes a hash.

    What is not ASCII, what Windows refuses, and what is a pattern to Snakemake is escaped as in
    URLs.
    """
    return cut_name(quote(text, safe=_KEPT), _LONGEST)


class Layout(NamedTuple):
    """The files of one results folder, such as results/demo.

    `name` is the name of a job; Snakemake's rules pass a wildcard instead.
    """

    results: Path

    def job(self, kind: Kind, name: str) -> Path:
        return self.results / "jobs" / kind / f"{name}.json"

    def log(self, kind: str, name: str) -> Path:
        return self.results / "logs" / kind / f"{name}.log"

    def output(self, kind: Kind, name: str) -> Path:
        """The record that a job writes last; for `restore`, the folder of SR pictures."""
        match kind:
            case "train":
                return self.results / "weights" / name / "record.json"
            case "restore":
                return self.results / "pictures" / name
            case "lam":
                return self.results / "lam" / name / "record.json"
            case _:
                return self.results / "records" / kind / f"{name}.json"

    def seen(self, name: str) -> Path:
        """What the job `prepare` of this name saw of the pictures (`plan.watching`)."""
        return self.results / "seen" / f"{name}.json"

    @property
    def wanted(self) -> Path:
        """The processes that the last run of the pipeline was to start (`plan.ahead`)."""
        return self.results / "jobs" / "wanted.json"

    @property
    def manifest(self) -> Path:
        """SHA-256 of all files of the folder (`plan.manifest`)."""
        return self.results / "SHA256SUMS"

    @property
    def config(self) -> Path:
        """A copy of the config that the last run of the pipeline was given."""
        return self.results / "config.yaml"

    @property
    def rates(self) -> Path:
        """Times of training steps that were measured to plan with (`plan.rates`)."""
        return self.results / "rates"

    def weights(self, run: str) -> Path:
        return self.results / "weights" / run / "weights.safetensors"

    def training_log(self, run: str) -> Path:
        return self.results / "weights" / run / "log.jsonl"

    @staticmethod
    def restored(pictures: Path) -> Path:
        """Whose the pictures in a folder are."""
        return pictures / "record.json"

    def map_sheet(self, dataset: str, scale: object) -> Path:
        """Attribution maps of all networks side by side."""
        return self.results / "lam" / "sheets" / f"{dataset}-x{scale}.png"

    @property
    def report(self) -> Path:
        """Folder of the report's page."""
        return self.results / "report"

    def ablation_page(self, name: str) -> Path:
        return self.report / "ablations" / f"{name}.html"
