"""The six networks against the published code, through its own checkpoint names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch

import hitsr
from hitsr.spec import Formulation

COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "complexity.json").read_text())


@pytest.mark.parametrize("formulation", get_args(Formulation))
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_output_is_that_of_the_published_code(
    name: str, formulation: Formulation, golden: Callable
):
    expected = golden(name)
    model = hitsr.create(name, 2, formulation=formulation).eval()
    hitsr.load_weights(model, expected.state)
    with torch.inference_mode():
        output = model(expected.input)
    assert output.shape == expected.full_shape
    down, right = expected.stride
    difference = (output[:, :, ::down, ::right] - expected.output).abs().max()
    assert difference < 2e-5


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_parameters_are_those_of_the_published_code(name: str):
    found = []
    for scale in (2, 3, 4):
        with torch.device("meta"):
            model = hitsr.create(name, scale)
        found.append(sum(parameter.numel() for parameter in model.parameters()))
    assert found == COUNTS["networks"][name]["params"]
