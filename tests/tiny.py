"""The config of a run of seconds on packaged photographs, for tests of the whole pipeline."""

import copy
from typing import Any

CONFIG: dict[str, Any] = {
    "networks": ["swinir_light"],
    "data": {
        "root": "data",
        "source": "wheels",
        "train": "train",
        "validation": "test",
        "test": ["test"],
    },
    "train": {
        "scales": [2],
        "device": "cpu",
        "changes": {"depths": [1], "width": 24, "windows.base": 4, "windows.ratios": [1]},
        "recipe": {"steps": 1, "batch": 1, "patch": 8, "learning_rate": 1e-3},
    },
    "efficiency": {
        "scales": [2],
        "output_size": [48, 32],
        # One formulation: written as in the paper, HiT-SIR takes its time.
        "latency": {
            "scales": [2],
            "formulations": ["fused"],
            "warmup": 0,
            "samples": 1,
            "device": "cpu",
        },
    },
}


def tiny(name: str, title: str, **sections: Any) -> dict[str, Any]:
    """The config with other sections; keys of `data`, `train` and `recipe` are added to its own."""
    config = {"name": name, "title": title, **copy.deepcopy(CONFIG)}
    config["train"]["recipe"] |= sections.pop("recipe", {})
    for key in ("data", "train"):
        config[key] |= sections.pop(key, {})
    return config | sections
