"""One thread, and mixers in either formulation with weights that are not near zero."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from hitsr.models.attention import Attention
from hitsr.models.correlation import Correlation
from hitsr.models.ngram import NgramContext
from hitsr.models.transposed import TransposedAttention
from hitsr.specs import network as spec


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _drawn(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    """Weights of one seed: both formulations of a module get the same."""
    torch.manual_seed(0)
    module = make()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.to(dtype)


@pytest.fixture
def attention() -> Callable[..., nn.Module]:
    """Makes attention of 16 channels and 2 heads."""

    def make(
        formulation: spec.Formulation,
        window: int,
        shift: int,
        fold: int,
        *,
        context: bool = False,
        positions: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> nn.Module:
        def made() -> Attention:
            around = NgramContext(16, 2, window, 2, shared=False) if context else None
            return Attention(16, 2, window, shift, fold, around, formulation, positions)

        return _drawn(made, dtype)

    return make


@pytest.fixture
def correlation() -> Callable[..., nn.Module]:
    """Makes correlation of 12 channels and 2 heads."""

    def make(
        formulation: spec.Formulation,
        window: int,
        base: int,
        changes: dict[str, Any] | None = None,
        *,
        shift: int = 0,
        context: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> nn.Module:
        def made() -> Correlation:
            mixer = spec.Correlation.parse({"heads": 2, **(changes or {})}, "test")
            around = NgramContext(12, 2, window, 2, shared=True) if context else None
            return Correlation(12, mixer, window, base, shift, around, formulation)

        return _drawn(made, dtype)

    return make


@pytest.fixture
def transposed() -> Callable[..., nn.Module]:
    """Makes transposed attention of 12 channels and 3 heads."""

    def make(
        formulation: spec.Formulation,
        window: int,
        shift: int = 0,
        *,
        context: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> nn.Module:
        def made() -> TransposedAttention:
            around = NgramContext(12, 3, window, 2, shared=False) if context else None
            return TransposedAttention(12, 3, window, shift, around, formulation)

        return _drawn(made, dtype)

    return make
