"""One of the processes of test_processes.py: trains several things, one after another."""

import os
import signal
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import torch
from torch import Tensor, nn

from hitsr.training.loop import ToBeContinuedError
from hitsr.training.processes import ALONE, Processes, joined
from hitsr.training.spawning import under_parent

STEPS = run_path(str(Path(__file__).with_name("test_step.py")))
COMMON = {
    "steps": 20, "batch": 4, "parts": 4, "milestones": (12,), "validate_every": 10, "ema": 0.9,
    "clip": 0.05, "graph": False,
}  # fmt: skip
# Networks with stochastic depth, and one whose loss is not finite at some pictures alone.
TRAININGS: dict[str, dict[str, Any]] = {
    "swinir_light": {"network": STEPS["TINY"]["swinir_light"]},
    "hit_srf": {"network": STEPS["TINY"]["hit_srf"]},
    "upsampler": {"network": STEPS["TINY"]["hit_sir"], "upsampler_only": 5},
    "poor": {"model": "poor"},
}


class Poor(nn.Module):
    """In training gives what is not a number for about one patch in ten."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = nn.functional.pixel_shuffle(self.body(x), 2)
        if not self.training:
            return out
        is_poor = (x[:, 0, 0, 0] * 255).round() % 10 == 0
        return torch.where(is_poor.view(-1, 1, 1, 1), torch.nan, out)


def poor() -> nn.Module:
    torch.manual_seed(0)
    return Poor()


def work(out: Path, name: str, processes: Processes = ALONE, **options: Any) -> None:
    options = {**COMMON, **TRAININGS[name], **options}
    if options.get("model"):
        options["model"] = poor()
    STEPS["train_tiny"](out, processes=processes, **options)


def stop() -> None:
    """Ask this process to end."""
    os.kill(os.getpid(), signal.SIGTERM)


def stopped(out: Path, processes: Processes = ALONE) -> str:
    """What a training says that is asked to end in its first validation, at step 10 of 20."""
    try:
        work(out, "hit_srf", processes, at_validation=stop)
    except ToBeContinuedError as error:
        return str(error)
    raise AssertionError


def main(folder: Path, kind: str) -> None:
    """Train all on CPUs or GPUs; on CPUs some are also begun, or gone on with."""
    device = torch.device(kind)
    if kind == "cuda":
        device = torch.device(kind, int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.set_num_threads(1)
    with under_parent(), joined(device) as processes:
        for name in TRAININGS:
            out = folder / f"{processes.count} processes" / name
            work(out, name, processes, device=device, graph=kind == "cuda")
        if kind == "cpu":
            stop_or_go_on(folder, processes)


def stop_or_go_on(folder: Path, processes: Processes) -> None:
    """With two processes begin a training, with more go on with what one has begun."""
    if processes.count == 2:
        stopped(folder / "begun by 2", processes)
        return
    said: list[str] = []
    work(folder / "begun by 1", "hit_srf", processes, said=said)
    if processes.is_first:
        (folder / "said.txt").write_text("\n".join(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
