"""Where the released formulation computes what, on a GPU that is not there, and what it refuses.

That it agrees with the others stands in `test_golden`, `test_backbone` and `test_variants`.
"""

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import hitsr
from hitsr.base.errors import SpecError
from hitsr.measure.complexity import count
from hitsr.models import released
from hitsr.models.attention import Attention
from hitsr.models.backbone import SuperResolver
from hitsr.models.block import Block
from hitsr.specs.network import Formulation
from hitsr.specs.published import TRAINING_PATCH
from hitsr.specs.zoo import BASELINE

PATCH = (TRAINING_PATCH, TRAINING_PATCH)
OTHER = (48, TRAINING_PATCH)  # whole windows, too
BASELINES = tuple(BASELINE.values())
SMALL = {"depths": [6], "windows.base": 4}


class Operator(NamedTuple):
    """One operator of a forward: the block it ran in, and devices of its inputs and outputs."""

    name: str
    block: str
    given: frozenset[str]
    made: frozenset[str]

    @property
    def copies_over(self) -> bool:
        return self.name == "_to_copy" and (self.given, self.made) == ({"cpu"}, {"cuda"})


class Recorder(TorchDispatchMode):
    """Keeps every operator that runs in it."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[Operator] = []
        self.block = ""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **(kwargs or {}))
        given, made = (
            frozenset(x.device.type for x in tree_leaves(values) if isinstance(x, Tensor))
            for values in ((args, kwargs), out)
        )
        self.operators.append(Operator(operator.overloadpacket.__name__, self.block, given, made))
        return out

    def enter(self, name: str) -> None:
        self.block = name


@pytest.fixture
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what looks at the values that it draws, since tensors have only shapes."""
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, **_: tensor)


@contextmanager
def _on_a_gpu(name: str, formulation: Formulation) -> Iterator[SuperResolver]:
    """A reduced network in eval mode on a GPU that only has shapes; so are tensors in the block."""
    network = hitsr.NETWORKS[name].patch({"depths": [6]})
    with FakeTensorMode(), torch.device("cuda"):
        yield hitsr.create(network, 2, formulation=formulation).eval()


def _recorded(model: SuperResolver, size: tuple[int, int]) -> list[Operator]:
    """Operators of the second forward, when caches are full."""
    with torch.no_grad():
        lr = torch.rand(1, 3, *size)
        model(lr)
        with Recorder() as recorder:
            for name, module in model.named_modules():
                if isinstance(module, Block):
                    module.register_forward_pre_hook(lambda *_, name=name: recorder.enter(name))
                    module.register_forward_hook(lambda *_: recorder.enter(""))
            model(lr)
    return recorder.operators


@pytest.mark.usefixtures("_no_drawing")
@pytest.mark.parametrize("name", BASELINES)
def test_every_block_of_a_baseline_builds_its_mask_on_the_cpu(name: str):
    with _on_a_gpu(name, "released") as model:
        operators = _recorded(model, OTHER)
    blocks = {each.block for each in operators} - {""}
    assert len(blocks) == 6
    for block in blocks:  # with and without a shift
        here = [each for each in operators if each.block == block]
        on_cpu = [each.name for each in here if "cpu" in each.made]
        assert {"sub", "ne", "eq", "masked_fill"} <= set(on_cpu)
        assert [each.name for each in here if each.copies_over] == ["_to_copy"]
    assert not [each for each in operators if not each.block and "cpu" in each.made | each.given]


@pytest.mark.usefixtures("_no_drawing")
@pytest.mark.parametrize("name", BASELINES)
def test_masks_of_the_training_patch_are_kept(name: str):
    with _on_a_gpu(name, "released") as model:
        operators = _recorded(model, PATCH)
        kept = {
            index: module.patch_mask is not None
            for index, module in enumerate(m for m in model.modules() if isinstance(m, Attention))
        }
    assert all(each.made | each.given == {"cuda"} for each in operators if each.made)
    assert kept == {index: index % 2 == 1 for index in range(6)}


@pytest.mark.usefixtures("_no_drawing")
@pytest.mark.parametrize("size", [PATCH, OTHER])
@pytest.mark.parametrize(
    ("name", "formulation"),
    [
        *((name, way) for name in hitsr.NETWORKS for way in ("paper", "fused")),
        *((name, "released") for name in BASELINE),
    ],
)
def test_nothing_else_is_made_on_the_cpu(
    name: str, formulation: Formulation, size: tuple[int, int]
):
    with _on_a_gpu(name, formulation) as model:
        operators = _recorded(model, size)
    assert len(operators) > 100
    assert not [each for each in operators if "cpu" in each.made | each.given]


def test_without_a_shift_the_mask_is_built_and_empty():
    """As in the published code, which adds zeros to all scores of such a block."""
    mixer = Attention(12, 2, 4, 0, 1, None, "released")
    mask = released.mask_on_cpu(mixer, 8, 12)
    assert mask.shape == (6, 16, 16)
    assert (mask == 0).all()


@pytest.mark.parametrize("fold", [1, 2])
def test_masks_are_those_of_the_paper(fold: int):
    mixer = Attention(16, 2, 8, 4, fold, None, "released")
    for h, w in ((8, 8), (8, 24), (16, 16)):
        expected = mixer.mask(h, w, torch.device("cpu"))
        assert torch.equal(released.mask_on_cpu(mixer, h, w), expected)
    assert torch.equal(mixer.patch_mask, mixer.mask(*PATCH, torch.device("cpu")))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_in_a_sentence(dtype: torch.dtype):
    model = hitsr.create(hitsr.NETWORKS["hit_sir"].patch(SMALL), 2, formulation="released")
    with pytest.raises(SpecError, match=r"'released': not in b?float16, because .* use autocast"):
        model.to(dtype)(torch.rand(1, 3, 8, 8, dtype=dtype))


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_autocast_computes_and_learns(name: str):
    torch.manual_seed(0)
    network = hitsr.NETWORKS[name].patch(SMALL)
    exact, rounded = (
        hitsr.create(network, 2, formulation="released", autocast=on) for on in (False, True)
    )
    rounded.load_state_dict(exact.state_dict())
    for size in (PATCH, (24, 16)):
        lr = torch.rand(1, 3, *size)
        expected, found = exact.eval()(lr), rounded.eval()(lr)
        assert 0 < (found - expected).abs().max() < 0.05
        rounded.train()(lr).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in rounded.parameters())


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_flops_are_those_of_the_paper_formulation(name: str):
    with torch.device("meta"):
        paper, found = (hitsr.create(name, 2, formulation=way) for way in ("paper", "released"))
    assert count(found, (48, 40), "torch").flops == count(paper, (48, 40), "torch").flops


def test_copies_and_pickles_are_whole():
    model = hitsr.create("swinir_light", 2, formulation="released").eval()
    copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    lr = torch.rand(1, 3, *PATCH)
    with torch.inference_mode():
        assert torch.equal(copied(lr), model(lr))
