import copy
import gc
import io
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hitsr.base.errors import SpecError
from hitsr.runtime import graphs
from hitsr.runtime.graphed import MOST, Graphed

X = torch.arange(6.0).view(2, 3)


class Small(nn.Module):
    """A layer, a buffer, and a module without parameters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.activation = nn.Linear(3, 3), nn.GELU()
        self.register_buffer("offset", torch.ones(3))
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        return self.activation(self.layer(x)) + self.offset


@pytest.fixture
def graphed(graphs_on_cpu) -> Graphed:  # noqa: ARG001
    return Graphed(Small()).eval()


def _agrees(graphed: Graphed, x: Tensor = X) -> None:
    """What is replayed, after as many calls as a capture takes, is what a plain forward gives."""
    with torch.inference_mode():
        for _ in range(3):
            assert torch.equal(graphed(x), graphed.module(x))


def test_the_second_call_captures_and_later_ones_run_no_python(graphed, graphs_on_cpu):
    small = graphed.module
    with torch.inference_mode():
        graphed(X)
        assert (small.forwards, graphs_on_cpu.captures) == (1, 0)
        graphed(X)
        assert (graphs_on_cpu.captures, graphs_on_cpu.replays) == (1, 1)
        before = small.forwards
        graphed(X)
        assert (small.forwards, graphs_on_cpu.captures) == (before, 1)


def test_results_are_those_of_plain_forwards_and_stay(graphed):
    _agrees(graphed)
    with torch.inference_mode():
        first = graphed(X)
        expected = first.clone()
        graphed(X + 1)
        assert torch.equal(first, expected)
        assert torch.equal(graphed(X + 1), graphed.module(X + 1))


def test_with_and_without_inference_mode_one_graph_serves(graphed, graphs_on_cpu):
    _agrees(graphed)
    with torch.no_grad():
        assert not graphed(X).is_inference()
    with torch.inference_mode():
        assert graphed(X).is_inference()
    assert graphs_on_cpu.captures == 1


class _Flags:
    """Sets an attribute inside the block."""

    def __init__(self, owner: Any, name: str, value: object) -> None:
        self.owner, self.name, self.value = owner, name, value

    def __enter__(self) -> None:
        self.before = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.value)

    def __exit__(self, *_: object) -> None:
        setattr(self.owner, self.name, self.before)


class _Deterministic:
    def __enter__(self) -> None:
        torch.use_deterministic_algorithms(True)

    def __exit__(self, *_: object) -> None:
        torch.use_deterministic_algorithms(False)


def _other(name: str) -> _Flags:
    """Another value of one of cuDNN's settings than it has."""
    return _Flags(torch.backends.cudnn, name, not getattr(torch.backends.cudnn, name))


@pytest.mark.parametrize(
    "other",
    [
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: _other("benchmark"),
        lambda: _Flags(
            torch.backends.cudnn, "deterministic", not torch.backends.cudnn.deterministic
        ),
        lambda: _Flags(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
        lambda: _Flags(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
        _Deterministic,
    ],
)
def test_settings_that_choose_kernels_have_graphs_of_their_own(graphed, graphs_on_cpu, other):
    _agrees(graphed)
    with other():
        _agrees(graphed)
    assert graphs_on_cpu.captures == 2
    _agrees(graphed)
    assert graphs_on_cpu.captures == 2


def test_shapes_types_and_layouts_have_graphs_of_their_own(graphs_on_cpu):
    graphed = Graphed(nn.Hardtanh()).eval()
    pictures = torch.rand(1, 3, 4, 5)
    last = pictures.to(memory_format=torch.channels_last)
    for x in (X, X[:1], X.double(), pictures, last):
        _agrees(graphed, x)
    assert graphs_on_cpu.captures == 5
    with torch.inference_mode():
        assert graphed(last).is_contiguous(memory_format=torch.channels_last)
        assert graphed(pictures).is_contiguous()
        assert torch.equal(graphed(pictures.mT.contiguous().mT), pictures)


def test_at_most_eight_graphs_are_kept_and_the_least_used_goes_first(graphed, graphs_on_cpu):
    sizes = [torch.ones(size, 3) for size in range(1, MOST + 1)]
    for x in sizes:
        _agrees(graphed, x)
    first, second = list(graphed.graphs._kept.values())[:2]
    assert graphs_on_cpu.captures == MOST == 8
    _agrees(graphed, sizes[0])  # so that the second is the least recently used
    gone, stays = weakref.ref(second), weakref.ref(first)
    del first, second
    _agrees(graphed, torch.ones(MOST + 1, 3))
    gc.collect()
    assert gone() is None
    assert stays() is not None
    _agrees(graphed, sizes[0])
    assert graphs_on_cpu.captures == MOST + 1
    assert len(set(graphs_on_cpu.pools)) == 1  # memory that all graphs of a network share


def _replace_storage(small: Small) -> None:
    small.layer.weight.data = small.layer.weight.data + 1


def _normalise_weights(small: Small) -> None:
    nn.utils.parametrizations.weight_norm(small.layer).eval()
    small.layer.parametrizations.weight.original0.mul_(2)


def _load(small: Small) -> None:
    small.load_state_dict({key: value + 1 for key, value in small.state_dict().items()})


@pytest.mark.parametrize(
    "change",
    [
        lambda small: nn.init.constant_(small.layer.weight, 2),
        lambda small: small.offset.add_(1),
        lambda small: setattr(small.layer, "weight", nn.Parameter(torch.ones(3, 3))),
        lambda small: setattr(small.layer, "bias", None),
        lambda small: setattr(small, "offset", torch.zeros(3)),
        lambda small: setattr(small, "layer", nn.Linear(3, 3).eval()),
        lambda small: setattr(small, "activation", nn.ReLU().eval()),
        _normalise_weights,
        _replace_storage,
        _load,
    ],
)
def test_changes_count_at_once(graphed, graphs_on_cpu, change: Callable[[Small], object]):
    _agrees(graphed)
    with torch.no_grad():
        before = graphed(X)
        change(graphed.module)
        assert not torch.equal(graphed(X), before)
    _agrees(graphed)
    assert graphs_on_cpu.captures == 2


def test_a_change_of_type_or_place_drops_the_graphs(graphed):
    _agrees(graphed)
    graphed.double()
    assert not graphed.graphs._kept
    _agrees(graphed, X.double())


def test_weights_lent_for_one_call_count_in_that_call_alone(graphed):
    _agrees(graphed)
    with torch.no_grad():
        before = graphed(X)
        lent = {key: value * 2 for key, value in graphed.state_dict().items()}
        found = torch.func.functional_call(graphed, lent, X)
        assert not torch.equal(found, before)
        assert torch.equal(found, torch.func.functional_call(graphed, lent, X))
        assert torch.equal(graphed(X), before)


def test_copies_and_pickles_have_no_graphs_and_go_their_own_way(graphed):
    _agrees(graphed)
    copied = copy.deepcopy(graphed)
    file = io.BytesIO()
    torch.save(graphed, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (copied, loaded):
        assert not other.graphs._kept
        nn.init.zeros_(other.module.layer.weight)
        _agrees(other)
    _agrees(graphed)
    assert list(graphed.state_dict()) == [f"module.{key}" for key in Small().state_dict()]


def _with_hook(graphed: Graphed) -> None:
    graphed.module.layer.register_forward_hook(lambda *_: None)


HINDRANCES: dict[str, tuple[Callable[[Graphed], object], Callable[[Graphed], Any]]] = {
    "it is in training mode": (lambda graphed: graphed.train(), lambda graphed: graphed(X)),
    "gradients are wanted": (lambda _: torch.set_grad_enabled(True), lambda graphed: graphed(X)),
    "its modules have hooks": (_with_hook, lambda graphed: graphed(X)),
    "under torch.func": (lambda _: None, lambda graphed: torch.vmap(graphed)(X[None])[0]),
    "its inputs are not plain": (
        lambda _: None,
        lambda graphed: graphed(X.as_subclass(type("Own", (Tensor,), {}))).as_subclass(Tensor),
    ),
}


@pytest.mark.parametrize("reason", HINDRANCES)
def test_what_cannot_be_a_graph_runs_plainly_and_says_so_once(graphed, graphs_on_cpu, reason):
    prepare, call = HINDRANCES[reason]
    with torch.no_grad():
        prepare(graphed)
        with pytest.warns(RuntimeWarning, match=f"without a CUDA graph, .*{reason}"):
            found = call(graphed)
        assert torch.equal(found, graphed.module(X))
        assert torch.equal(call(graphed), found)  # warnings are errors, unless caught
    assert graphs_on_cpu.captures == 0


def test_a_counter_of_flops_sees_every_operator(graphed):
    _agrees(graphed)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        with pytest.warns(RuntimeWarning, match="a dispatch mode"):
            graphed(X)
        assert counter.get_total_flops() == 2 * 2 * 3 * 3


def test_gradients_flow_where_they_are_wanted_and_graphs_go_on_after(graphed, graphs_on_cpu):
    _agrees(graphed)
    x = X.clone().requires_grad_()
    with pytest.warns(RuntimeWarning, match="gradients are wanted"):
        graphed(x).sum().backward()
    assert x.grad is not None
    _agrees(graphed)
    assert graphs_on_cpu.captures == 1
    graphed.requires_grad_(False)
    graphed(X)  # of frozen weights nobody wants gradients
    assert graphs_on_cpu.captures == 1


def test_training_between_replays_counts(graphed):
    _agrees(graphed)
    optimizer = torch.optim.SGD(graphed.parameters(), lr=1.0)
    with pytest.warns(RuntimeWarning, match="training mode"):
        graphed.train()(X).sum().backward()
    optimizer.step()
    graphed.eval()
    _agrees(graphed)


def test_a_cpu_runs_plainly_and_says_so():
    graphed = Graphed(Small()).eval()
    with torch.no_grad(), pytest.warns(RuntimeWarning, match="device is cpu; CUDA graphs") as said:
        assert torch.equal(graphed(X), graphed.module(X))
    assert said[0].filename == __file__


class Waits(nn.Module):
    """A module that no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


def test_an_operator_that_cannot_be_captured_is_named(graphs_on_cpu):
    graphed = Graphed(Waits()).eval()
    with torch.no_grad():
        graphed(X)
        with pytest.warns(RuntimeWarning, match=r"aten\._local_scalar_dense"):
            assert torch.equal(graphed(X), X * 15)
        assert torch.equal(graphed(X), X * 15)
    assert graphs_on_cpu.captures == 0


def test_a_failed_capture_runs_plainly_and_others_go_on(graphed, graphs_on_cpu):
    _agrees(graphed)
    graphs_on_cpu.failure = RuntimeError("not permitted")
    with torch.no_grad():
        graphed(X[:1])
        with pytest.warns(RuntimeWarning, match="RuntimeError: operation failed"):
            assert torch.equal(graphed(X[:1]), graphed.module(X[:1]))
        graphs_on_cpu.failure = None
        assert torch.equal(graphed(X[:1]), graphed.module(X[:1]))  # not tried again
    _agrees(graphed)
    _agrees(graphed, torch.ones(4, 3))
    assert graphs_on_cpu.captures == 2
    assert len(set(graphs_on_cpu.pools)) == 2  # a failed capture may have spoilt its pool


class Large(Small):
    """Runs out of memory with more than two rows, unless there is room."""

    has_room: Callable[[], bool]

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2 and not self.has_room():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_if_memory_runs_out_graphs_make_room(graphs_on_cpu):
    large = Large()
    graphed = Graphed(large).eval()
    large.has_room = lambda: not graphed.graphs._kept
    _agrees(graphed)
    with torch.no_grad():
        graphed(torch.ones(3, 3))
    assert not graphed.graphs._kept
    large.has_room = lambda: False
    with torch.no_grad(), pytest.raises(torch.OutOfMemoryError):
        graphed(torch.ones(3, 3))
    assert graphs_on_cpu.captures == 1


@pytest.mark.parametrize(
    "has_room",
    [
        torch.is_autocast_cache_enabled,  # not in warm-ups, as it is off then
        lambda: not graphs.is_capturing(),
    ],
)
def test_if_memory_is_too_small_for_a_graph_all_go_and_it_runs_plainly(graphs_on_cpu, has_room):
    large = Large()
    graphed = Graphed(large).eval()
    large.has_room = has_room
    _agrees(graphed)
    with torch.no_grad():
        graphed(torch.ones(3, 3))
        assert graphed.graphs._kept
        with pytest.warns(RuntimeWarning, match="needs more memory than there is"):
            found = graphed(torch.ones(3, 3))
        assert torch.equal(found, large(torch.ones(3, 3)))
    assert not graphed.graphs._kept
    assert graphs_on_cpu.captures == 1


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_module_that_changes_itself_runs_plainly():
    class Counts(Small):
        def forward(self, x: Tensor) -> Tensor:
            self.offset.add_(1)
            return super().forward(x)

    graphed = Graphed(Counts()).eval()
    with torch.no_grad():
        with pytest.warns(RuntimeWarning, match="changes weights or buffers"):
            first = graphed(X)
        assert torch.equal(graphed(X), first + 1)


@pytest.mark.usefixtures("graphs_on_cpu")
def test_weights_of_inference_mode_run_plainly():
    with torch.inference_mode():
        graphed = Graphed(Small()).eval()
        with pytest.warns(RuntimeWarning, match="made in inference mode"):
            assert torch.equal(graphed(X), graphed.module(X))
        nn.init.zeros_(graphed.module.layer.weight)
        assert torch.equal(graphed(X), graphed.module(X))


def test_within_another_capture_it_runs_plainly(graphed, graphs_on_cpu):
    _agrees(graphed)
    with torch.no_grad(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        captured = graphs.capture(lambda x: graphed(x) * 2, [X])
        assert torch.equal(captured.replay(X), graphed.module(X) * 2)
    assert "part of another graph" in " ".join(str(each.message) for each in said)
    assert graphs_on_cpu.captures == 2


def test_required_graphs_are_captured_at_once_or_refused(graphs_on_cpu):
    graphed = Graphed(Small(), required=True).eval()
    with torch.inference_mode():
        graphed(X)
        assert graphs_on_cpu.captures == 1
        with pytest.raises(SpecError, match="CUDA graph: it is in training mode"):
            graphed.train()(X)
        waits = Graphed(Waits(), required=True).eval()
        for _ in range(2):
            with pytest.raises(SpecError, match="_local_scalar_dense"):
                waits(X)
    assert copy.deepcopy(graphed).graphs._required


@pytest.mark.usefixtures("graphs_on_cpu")
def test_several_inputs_and_results():
    class Pair(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return x + y, x * y

    graphed = Graphed(Pair()).eval()
    with torch.inference_mode():
        for shift in range(3):
            added, product = graphed(X + shift, X)
            assert torch.equal(added, 2 * X + shift)
            assert torch.equal(product, (X + shift) * X)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_code_is_the_plain_forward(graphed, graphs_on_cpu, backend: str):
    _agrees(graphed)
    before = graphs_on_cpu.captures, graphs_on_cpu.replays
    compiled = torch.compile(graphed, backend=backend, fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(X), graphed.module(X))
    assert (graphs_on_cpu.captures, graphs_on_cpu.replays) == before
    torch._dynamo.reset()


def test_exported_and_traced_code_is_the_plain_forward(graphed, graphs_on_cpu):
    _agrees(graphed)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        exported = torch.export.export(graphed, (X,)).module()
        traced = torch.jit.trace(graphed, (X,))
        for program in (exported, traced):
            assert torch.equal(program(X + 1), graphed.module(X + 1))
    assert graphs_on_cpu.captures == 1


def test_threads_get_their_own_results(graphed, graphs_on_cpu):
    wrong: list[object] = []

    def work(shift: int) -> None:
        try:
            with torch.inference_mode():
                expected = graphed.module(X + shift)
                for _ in range(20):
                    if not torch.equal(graphed(X + shift), expected):
                        wrong.append(shift)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert graphs_on_cpu.captures == 1
