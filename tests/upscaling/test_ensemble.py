import pytest
import torch
from torch import Tensor, nn

from hitsr.upscaling.ensemble import in_batches, self_ensembled


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


@pytest.mark.parametrize(
    ("picture", "at_once", "batches"),
    [
        (PICTURE, 8, [4, 4]),
        (PICTURE, 3, [3, 1, 3, 1]),
        (PICTURE[..., :5], 8, [8]),
        (PICTURE, 1, [1] * 8),
        (PICTURE.expand(2, -1, -1, -1), 5, [4, 4, 4, 4]),
        (PICTURE.expand(2, -1, -1, -1), 2, [2] * 8),
    ],
)
def test_symmetries_of_one_shape_go_through_together(
    picture: Tensor, at_once: int, batches: list[int]
):
    seen, model = [], Slanted()

    def forward(x: Tensor) -> Tensor:
        seen.append(len(x))
        return model(x)

    together = self_ensembled(forward, lambda _: at_once)(picture)
    assert seen == batches
    torch.testing.assert_close(together, self_ensembled(model)(picture))


def test_inputs_keep_their_order_in_batches():
    inputs = [torch.full((1, 1, 2, width), float(i)) for i, width in enumerate((3, 3, 3, 4, 4, 3))]
    seen = []

    def forward(x: Tensor) -> Tensor:
        seen.append(len(x))
        return -x

    outputs = list(in_batches(forward, inputs, lambda size: size[1] - 1))
    assert seen == [2, 1, 2, 1]
    assert all(torch.equal(hr, -x) for hr, x in zip(outputs, inputs, strict=True))
