import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hitsr
from hitsr.models.upsample import upsampler
from hitsr.specs.network import Scale

# In millions: the READMEs of SRFormer (x2: 11.75 and 10.40) and SwinIR (x4: 11.9).
PUBLISHED = [("swinir_m", 2, 11.75), ("swinir_m", 4, 11.9), ("srformer", 2, 10.40)]


@pytest.mark.parametrize(("name", "scale", "millions"), PUBLISHED)
def test_classical_networks_have_their_published_sizes(name: str, scale: int, millions: float):
    with torch.device("meta"):
        model = hitsr.create(name, scale)
    found = sum(parameter.numel() for parameter in model.parameters())
    assert found / 1e6 == pytest.approx(millions, abs=0.005)


def _shuffled(x: Tensor, factor: int) -> Tensor:
    """Pixel by pixel: channel c f² + f i + j becomes pixel (i, j) of a cell of channel c."""
    b, c, h, w = x.shape
    large = torch.empty(b, c // factor**2, h * factor, w * factor)
    for i in range(factor):
        for j in range(factor):
            large[:, :, i::factor, j::factor] = x[:, factor * i + j :: factor**2]
    return large


@pytest.mark.parametrize(("scale", "steps"), [(2, [(0, 2)]), (3, [(0, 3)]), (4, [(0, 2), (2, 2)])])
def test_two_stages_by_hand(scale: Scale, steps: list[tuple[int, int]]):
    torch.manual_seed(0)
    layers = upsampler("two_stage", 12, scale)
    state = layers.state_dict()

    def convolved(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    x = torch.randn(2, 12, 4, 5)
    features = convolved(x, "narrow")
    features = torch.where(features > 0, features, 0.01 * features)
    for layer, factor in steps:
        features = _shuffled(convolved(features, str(layer)), factor)
    expected = convolved(features, "colours")
    assert expected.shape == (2, 3, 4 * scale, 5 * scale)
    torch.testing.assert_close(layers(x), expected)
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == len(state) / 2
