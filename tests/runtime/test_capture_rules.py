"""What operators may return in a CUDA graph; the device is PyTorch's without memory, "meta"."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hitsr.runtime.capture_rules import CaptureError, CaptureRules


@pytest.fixture
def operators() -> Iterator[Any]:
    """Operators of a device that return values of the host."""
    library = torch.library.Library("capture_rules_of_a_test", "DEF")

    def attends(x: Tensor) -> tuple[Tensor, Tensor]:
        """As scaled_dot_product_attention on CUDA, which returns its random state on the CPU."""
        return x.clone(), torch.empty((), dtype=torch.int64)

    library.define("attends(Tensor x) -> (Tensor, Tensor)")
    library.impl("attends", attends, "Meta")
    library.define("sizes(Tensor x) -> (Tensor, Tensor)")
    library.impl("sizes", lambda x: (x.clone(), torch.zeros(2)), "Meta")
    library.define("value(Tensor x) -> Tensor")
    library.impl("value", lambda _: torch.zeros(()), "Meta")
    yield torch.ops.capture_rules_of_a_test
    library._destroy()


def test_a_single_value_of_the_host_beside_a_result_is_no_copy(operators: Any):
    with CaptureRules("meta"):
        found, state = operators.attends(torch.empty(2, device="meta"))
    assert (found.device.type, state.device.type) == ("meta", "cpu")


@pytest.mark.parametrize("name", ["sizes", "value"])
def test_several_values_and_a_result_on_the_host_are_copies(operators: Any, name: str):
    x = torch.empty(2, device="meta")
    with CaptureRules("meta"), pytest.raises(CaptureError, match=f"{name}.* between host and"):
        getattr(operators, name)(x)
