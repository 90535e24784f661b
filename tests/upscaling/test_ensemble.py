import pytest
import torch
from torch import Tensor, nn

from hitsr.upscaling.ensemble import self_ensembled


class Slanted(nn.Module):
    """Upscales by 2 with a convolution whose result depends on the picture's orientation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return torch.pixel_shuffle(self.conv(x).relu(), 2)


PICTURE = torch.rand(1, 3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SYMMETRIES = [
    lambda x: x.flip(2),
    lambda x: x.flip(3),
    lambda x: x.transpose(2, 3),
    lambda x: x.rot90(1, (2, 3)),
]


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_result_rotates_and_mirrors_with_the_picture(symmetry):
    model = Slanted()
    assert not torch.allclose(model(symmetry(PICTURE)), symmetry(model(PICTURE)))
    averaged = self_ensembled(model)
    torch.testing.assert_close(averaged(symmetry(PICTURE)), symmetry(averaged(PICTURE)))


def test_each_of_eight_symmetries_is_seen_once():
    seen = []

    def forward(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return x

    torch.testing.assert_close(self_ensembled(forward)(PICTURE), PICTURE)
    assert len({tuple(x.flatten().tolist()) for x in seen}) == 8


def test_a_symmetric_network_is_unchanged():
    torch.testing.assert_close(self_ensembled(lambda x: 2 * x)(PICTURE), 2 * PICTURE)
