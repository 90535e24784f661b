"""The six networks against the published code, through its own checkpoint names."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import torch

import hitsr
from hitsr.models.own import load_own
from hitsr.models.windows import cells
from hitsr.specs.network import Formulation

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


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # how spandrel's copy of SwinIR calls it
def test_published_checkpoint_makes_the_same_by_way_of_spandrel(
    golden: Callable, tmp_path: Path
) -> None:
    """An independent implementation of the published network, and of reading its weights."""
    published = golden("swinir_light")
    # Buffers of real checkpoints, by which spandrel tells an architecture and its window.
    cpu = torch.device("cpu")
    offsets = cells(8, cpu)[:, None] - cells(8, cpu) + 7
    buffers = {}
    for group, block in product(range(4), range(6)):
        place = f"layers.{group}.residual_group.blocks.{block}"
        buffers[f"{place}.attn.relative_position_index"] = offsets @ torch.tensor([15, 1])
        if block % 2:  # of a picture of 64 pixels a side, which this is not: made anew
            buffers[f"{place}.attn_mask"] = torch.zeros(64, 64, 64)
    torch.save({"params": {**published.state, **buffers}}, tmp_path / "swinir.pth")
    model = load_own(f"spandrel:{tmp_path / 'swinir.pth'}", 2)
    with torch.inference_mode():
        output = model(published.input)
    down, right = published.stride
    assert output.shape == published.full_shape
    torch.testing.assert_close(output[:, :, ::down, ::right], published.output, rtol=0, atol=2e-5)
