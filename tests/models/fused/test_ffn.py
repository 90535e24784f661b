import pytest
import torch

from hitsr.models.ffn import FeedForward


@pytest.mark.parametrize("kernel", [None, 3, 5])
def test_what_is_done_in_place_changes_nothing(kernel: int | None):
    torch.manual_seed(0)
    fused, paper = (FeedForward(4, 2, kernel, side) for side in ("fused", "paper"))
    paper.load_state_dict(fused.state_dict())
    x = torch.randn(2, 6, 7, 4)
    given = x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), paper(x))
    assert torch.equal(x, given)
