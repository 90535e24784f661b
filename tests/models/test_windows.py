import numpy as np
import pytest
import torch

from hitsr.models.windows import cells, extend, merge, reflected, regions, split

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("window", "height", "width"), [(1, 3, 5), (2, 4, 2), (4, 8, 12), (3, 9, 3)]
)
def test_merge_undoes_split(window: int, height: int, width: int):
    x = torch.randn(2, height, width, 5)
    windows = split(x, window)
    assert windows.shape == (2 * height * width // window**2, window**2, 5)
    assert torch.equal(merge(windows, window, height, width), x)


def test_windows_are_read_row_by_row():
    x = torch.arange(2 * 4 * 4).view(2, 4, 4, 1)
    assert split(x, 2)[..., 0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
        [16, 17, 20, 21],
        [18, 19, 22, 23],
        [24, 25, 28, 29],
        [26, 27, 30, 31],
    ]


@pytest.mark.parametrize("multiple", [1, 2, 8, 64])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 8, 9, 31, 64, 65])
def test_extension_is_numpys_reflect(length: int, multiple: int):
    x = np.random.default_rng(length).random((2, length, 3, 4), dtype=np.float32)
    extra = [(0, 0), (0, -length % multiple), (0, -3 % multiple), (0, 0)]
    expected = np.pad(x, extra, mode="reflect")  # a single sample is repeated
    assert np.array_equal(extend(torch.from_numpy(x), multiple).numpy(), expected)


def test_reflection_has_period_twice_the_length_less_two():
    assert reflected(3, 9, CPU).tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1]
    assert reflected(1, 3, CPU).tolist() == [0, 0, 0]


def test_whole_windows_are_not_extended():
    x = torch.randn(1, 8, 16, 2)
    assert extend(x, 8) is x


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"), [(8, 8, 4, 2), (4, 12, 4, 1), (6, 3, 3, 1)]
)
def test_regions_join_tokens_that_are_neighbours_without_the_shift(
    height: int, width: int, window: int, shift: int
):
    """Within a shifted window, two tokens share a region if and only if they were no further
    apart than a window before the shift brought the picture's two ends together."""
    row, column = (
        torch.arange(length).roll(-shift).view(shape).expand(height, width)
        for length, shape in ((height, (-1, 1)), (width, (1, -1)))
    )
    before = torch.stack([row, column], -1)[None]
    tokens = split(before, window)
    apart = (tokens[:, :, None] - tokens[:, None]).abs().amax(-1) >= window
    wrapped = torch.zeros_like(apart)
    for dim, length in ((0, height), (1, width)):
        # The picture's far end meets its near end only in the last window.
        near = tokens[..., dim] < shift
        far = tokens[..., dim] >= length - window + shift
        wrapped |= near[:, :, None] & far[:, None] | far[:, :, None] & near[:, None]
    parts = split(regions(height, width, window, shift, CPU), window)[..., 0]
    separate = parts[:, :, None] != parts[:, None]
    assert torch.equal(separate, wrapped)
    assert not (apart & ~separate).any()


def test_regions_number_nine_parts():
    parts = regions(8, 8, 4, 2, CPU)[0, :, :, 0]
    bands = [0, 0, 0, 0, 1, 1, 2, 2]
    assert parts.tolist() == [[3 * down + right for right in bands] for down in bands]


def test_cells_run_row_by_row():
    assert cells(2, CPU).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert cells(1, CPU).tolist() == [[0, 0]]
