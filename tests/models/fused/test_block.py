import pytest
import torch

import hitsr
from hitsr.models.fused.cpu import strips


@pytest.mark.parametrize("name", hitsr.NETWORKS)
@pytest.mark.parametrize("size", [(2, 21, 30), (1, 64, 9)])
def test_blocks_by_strips_are_the_papers(
    name: str, size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(strips, "at_once", lambda: 1)
    torch.manual_seed(0)
    spec = hitsr.NETWORKS[name].patch({"depths": [6], "width": 24})
    paper, fused = (hitsr.create(spec, 2, formulation=form).eval() for form in ("paper", "fused"))
    for parameter in paper.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    fused.load_state_dict(paper.state_dict())
    b, h, w = size
    x = torch.rand(b, 3, h, w)
    with torch.inference_mode():
        expected = paper(x)
        assert (fused(x) - expected).abs().max() < 1e-5 * max(1, expected.abs().max())
