"""What a config needs that is not part of it: a device, pictures, released weights."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from hitsr.plan.methods import find_weights, methods, weight_names
from hitsr.specs.config import Config, Device


def available_device(asked: Device) -> Literal["cpu", "cuda", "mps"]:
    """What `auto` means on this machine, found without torch: a GPU where its driver answers."""
    if asked != "auto":
        return asked
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def missing_data(config: Config, sources: Path, sets: Iterable[str] = ()) -> str | None:
    """What pictures a config wants and does not find, and where to get them; None if all is there.

    `sources` is a CSV of kind, name and url; `sets` are those wanted, by default the config's.
    """
    if config.data.source == "wheels":
        return None
    folders = {name: config.data.root / name / "HR" for name in sorted(sets) or config.data.sets}
    missing = {name: folder for name, folder in folders.items() if not folder.is_dir()}
    if not missing:
        return None
    with sources.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "dataset"]
    lines = [f"{len(missing)} of {len(folders)} sets of pictures are missing:"]
    for name, folder in missing.items():
        lines.append(f"  {folder}")
        lines += [f"    {row['name']}: {row['url']}" for row in rows if _offers(row, name)]
    lines.append("Put each set's full-size pictures into its HR folder (LR is made from them), or")
    lines.append("name other sets in the config's `data`.")
    return "\n".join(lines)


def missing_weights(config: Config, sources: Path) -> str | None:
    """Which released weights a config wants and does not find, and how to get them."""
    if config.weights is None:
        return None
    root = config.weights.root
    released = [method for method in methods(config).values() if method.kind == "released"]
    missing = [m for m in released if find_weights(root, m.network, m.scale) is None]
    if not missing:
        return None
    lines = [f"{len(missing)} of {len(released)} released weights are missing in {root}:"]
    for network in dict.fromkeys(method.network for method in missing):
        scales = ", ".join(f"x{m.scale}" for m in missing if m.network == network)
        lines.append(f"  {network} {scales}: {_weights_source(sources, network)}")
    first, second, third = weight_names(root, missing[0].network, missing[0].scale)
    lines.append(f"`hitsr fetch-weights --out {root}` fetches those that can be; put others there")
    lines.append(f"as {first.name}, {second.name} or {third.parent.name}/{third.name}.")
    return "\n".join(lines)


def _weights_source(sources: Path, network: str) -> str:
    with sources.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"].startswith("weights")]
    return next(row["url"] for row in rows if row["name"] == network)


def _offers(row: dict[str, str], dataset: str) -> bool:
    """Whether a source holds the HR pictures of a set; its note may list several sets."""
    listed = re.search(rf"\b{re.escape(dataset)}[,:]", row["note"]) is not None
    return listed or (row["name"].startswith(dataset) and "_LR_" not in row["name"])
