"""The backend for CUDA devices, on a CPU, with either of the ways that a trial chooses between."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from torch import Tensor

from hitsr.models.fused.backend import forced
from hitsr.runtime.trials import Way


@pytest.fixture(params=["first", "last"])
def on_cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every choice takes the first or the last way."""

    def choose(_: str, ways: dict[str, Callable[..., Tensor]], __: Sequence[Tensor]) -> Way:
        return list(ways.values())[0 if request.param == "first" else -1]

    for module in ("attention", "norm"):
        monkeypatch.setattr(f"hitsr.models.fused.cuda.{module}.fastest", choose)
    with forced("cuda"):
        yield
