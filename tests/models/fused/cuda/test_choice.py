"""The rule that chooses between kernels and PyTorch's operators."""

import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hitsr.base.errors import SpecError
from hitsr.models.fused.cuda.choice import KERNEL, best, has_hooks, only
from hitsr.models.fused.cuda.kernels import launch
from hitsr.runtime import trials
from hitsr.runtime.precision import KERNEL_SWITCH
from hitsr.runtime.trials import Way

X = torch.randn(8, 60)


def _kernel(x: Tensor) -> Tensor:
    return 2 * x


def _plain(x: Tensor) -> Tensor:
    return x + x


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if kernels could take tensors on this CPU; and as if nothing were known yet."""
    monkeypatch.setattr("hitsr.models.fused.cuda.choice.why_not", lambda _: None)
    monkeypatch.setattr(trials, "_misfits", {})
    monkeypatch.setattr(trials, "_noted", {})
    monkeypatch.setattr(trials, "_chosen", {})


def test_where_kernels_cannot_run_plain_is_used_and_no_kernel_is_made():
    def never() -> None:
        raise AssertionError

    assert best("double", never, _plain, (X,)) is _plain


@pytest.mark.usefixtures("usable")
def test_shapes_that_a_kernel_does_not_take_are_plain():
    assert best("double", lambda: None, _plain, (X,)) is _plain


@pytest.mark.usefixtures("usable")
def test_a_kernel_that_agrees_is_used_and_checked_once():
    calls: list[int] = []

    def counted(x: Tensor) -> Tensor:
        calls.append(1)
        return _plain(x)

    for _ in range(3):
        assert best("double", lambda: _kernel, counted, (X,)) is _kernel
    assert len(calls) == 1
    said = {"double, 60 channels, float32, 8 rows or more": "a kernel, untimed"}
    assert trials.chosen(X.device) == said


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda x: 2.01 * x, "differs by 5e-03"),
        (lambda x: x * float("nan"), "differs by nan"),
        (lambda x: x.missing, "fails: AttributeError"),
    ],
)
def test_a_kernel_that_fails_or_differs_is_not_used_and_this_is_said(wrong, reason: str):
    with pytest.warns(RuntimeWarning, match=f"double, 60 channels.* is not used.*{reason}"):
        assert best("double", lambda: wrong, _plain, (X,)) is _plain
    with warnings.catch_warnings(action="error"):  # once
        assert best("double", lambda: wrong, _plain, (X,)) is _plain
    said = trials.chosen(X.device)
    assert reason in said["double, 60 channels, float32, 8 rows or more"]


@pytest.mark.usefixtures("usable")
def test_gradients_of_inputs_and_parameters_are_checked():
    weight = nn.Parameter(torch.ones(60))
    x = X.clone().requires_grad_()

    def plain(x: Tensor) -> Tensor:
        return x * weight

    def cut(x: Tensor) -> Tensor:
        return x * weight.detach()

    def halved(x: Tensor) -> Tensor:
        return x.detach() * weight + 0.5 * (x - x.detach()) * weight

    for wrong, reason in ((cut, "other gradients"), (halved, "differs")):
        trials._misfits.clear()
        with pytest.warns(RuntimeWarning, match=reason):
            assert best("scale", lambda wrong=wrong: wrong, plain, (x,), [weight]) is plain
    assert x.grad is weight.grad is None


@pytest.mark.usefixtures("usable")
@pytest.mark.parametrize("step", ["reference", "kernel", "comparison"])
def test_a_kernel_is_taken_at_its_word_where_memory_is_too_small_to_compare(
    step: str, monkeypatch: pytest.MonkeyPatch
):
    def greedy(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("no memory")

    plain, kernel = (greedy if step == each else _plain for each in ("reference", "kernel"))
    if step == "comparison":
        monkeypatch.setattr(trials, "_difference", greedy)
    assert best("double", lambda: kernel, plain, (X,)) is kernel


@pytest.mark.usefixtures("usable")
def test_batches_without_pictures_go_through_no_kernel():
    assert best("double", lambda: _kernel, _plain, (X[:0],)) is _plain


@pytest.mark.usefixtures("usable")
def test_gradients_of_parameters_are_checked_where_inputs_need_none():
    weight = nn.Parameter(torch.ones(60))

    def plain(x: Tensor) -> Tensor:
        return x * weight

    with pytest.warns(RuntimeWarning, match="other gradients"):
        wrong = best("scale", lambda: lambda x: x * weight.detach(), plain, (X,), [weight])
    assert wrong is plain


@pytest.mark.usefixtures("usable")
def test_other_sizes_are_checked_for_themselves():
    """A kernel that is right in windows of 8 alone."""

    def choose(window: int) -> Way:
        kernel = partial(torch.mul, other=2 if window == 8 else 3)
        return best("double", lambda: kernel, _plain, (X,), sizes={"window": window})

    assert choose(8) is not _plain
    with pytest.warns(RuntimeWarning, match=r"double \(window 16\), 60 channels"):
        assert choose(16) is _plain
    assert choose(8) is not _plain


@pytest.mark.usefixtures("usable")
def test_rounding_of_narrow_types_is_no_difference():
    x = X.bfloat16()
    coarse = best("double", lambda: lambda x: (2.03 * x).bfloat16(), _plain, (x,))
    assert coarse is not _plain


@pytest.mark.usefixtures("usable")
def test_an_unchecked_kernel_is_not_captured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trials, "is_capturing", lambda: True)
    assert best("double", lambda: _kernel, _plain, (X,)) is _plain
    monkeypatch.setattr(trials, "is_capturing", lambda: False)
    assert best("double", lambda: _kernel, _plain, (X,)) is _kernel
    monkeypatch.setattr(trials, "is_capturing", lambda: True)
    assert best("double", lambda: _kernel, _plain, (X,)) is _kernel


@pytest.mark.usefixtures("usable")
def test_the_slower_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "hitsr.models.fused.cuda.choice.fastest",
        lambda _, ways, *__, **___: next(way for name, way in ways.items() if name != KERNEL),
    )
    assert best("double", lambda: _kernel, _plain, (X,)) is _plain


def test_one_kind_alone_can_be_asked_for():
    with only("kernel"):
        assert best("double", lambda: _kernel, _plain, (X,)) is _kernel
        with only("plain"):
            assert best("double", lambda: _kernel, _plain, (X,)) is _plain
        assert best("double", lambda: None, _plain, (X,)) is _plain
    assert best("double", lambda: _kernel, _plain, (X,)) is _plain


def _features(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(**{"device": torch.device("cuda", 0), "dtype": torch.float32} | changes)


@pytest.mark.parametrize(
    ("x", "capability", "reason"),
    [
        (torch.empty(1), (9, 0), "the device is cpu"),
        (_features(dtype=torch.float64), (9, 0), "float64 features"),
        (_features(), (7, 5), "compute capability 7.5, less than 8.0"),
        (_features(), (8, 0), None),
    ],
)
def test_why_kernels_cannot_run(x, capability, reason, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(KERNEL_SWITCH, raising=False)
    monkeypatch.setattr(launch, "has_triton", lambda: True)
    monkeypatch.setattr(launch, "_capability", lambda _: capability)
    monkeypatch.setattr(launch, "Tensor", type(x))  # where no such device is
    assert launch.why_not(x) == reason


def test_tensors_without_values_go_through_no_kernel(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "has_triton", lambda: True)
    assert launch.why_not(_features()) == "tensors without values"


def test_kernels_can_be_switched_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KERNEL_SWITCH, "plain")
    assert launch.why_not(torch.empty(1)) == "HITSR_KERNELS=plain"
    monkeypatch.setenv(KERNEL_SWITCH, "fast")
    with pytest.raises(SpecError, match="HITSR_KERNELS='fast': must be auto or plain"):
        launch.why_not(torch.empty(1))
    monkeypatch.setenv(KERNEL_SWITCH, "auto")
    monkeypatch.setattr(launch, "has_triton", lambda: False)
    assert launch.why_not(torch.empty(1)) == "Triton is not installed"


def test_hooks_anywhere_inside_are_seen():
    module = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())
    assert not has_hooks(module)
    module[0][0].register_forward_hook(lambda *_: None)
    assert has_hooks(module)
