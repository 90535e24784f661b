import gc
import inspect
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hitsr.base.errors import HitsrError
from hitsr.runtime import graphs
from hitsr.runtime.capture_rules import CaptureError
from hitsr.runtime.graphs import capture

pytestmark = pytest.mark.usefixtures("graphs_on_cpu")


def _double(x: Tensor) -> Tensor:
    return 2 * x


def test_a_replay_computes_the_function_on_new_values(graphs_on_cpu):
    captured = capture(_double, [torch.ones(2)])
    assert torch.equal(captured.replay(torch.tensor([1.0, 3.0])), torch.tensor([2.0, 6.0]))
    assert graphs_on_cpu.replays == 1


def test_a_result_is_not_overwritten_by_later_replays():
    captured = capture(lambda x: (x + 1, x.view(2, 1)), [torch.zeros(2)])
    first, view = captured.replay(torch.zeros(2))
    captured.replay(torch.ones(2))
    assert torch.equal(first, torch.ones(2))
    assert torch.equal(view, torch.zeros(2, 1))


def test_a_replay_runs_no_python():
    calls = []

    def function(x: Tensor) -> Tensor:
        calls.append(x)
        return x + len(calls)

    captured = capture(function, [torch.zeros(1)], warm_ups=2)
    assert len(calls) == 3
    assert [captured.replay(torch.zeros(1)).item() for _ in range(2)] == [3, 3]


def test_the_inputs_given_stay_as_they_are_and_may_change():
    given = torch.zeros(2)
    captured = capture(lambda x: x.add_(1).clone(), [given])
    assert torch.equal(given, torch.zeros(2))
    assert torch.equal(captured.replay(given), torch.ones(2))
    assert torch.equal(given, torch.zeros(2))
    captured.inputs[0].fill_(5)
    assert torch.equal(captured.replay(*captured.inputs), torch.full((2,), 6.0))


def test_a_capture_itself_changes_nothing():
    weight = torch.zeros(1)

    def step(x: Tensor) -> Tensor:
        weight.add_(x)
        return weight * 1

    captured = capture(step, [torch.ones(1)], warm_ups=2)
    assert weight.item() == 2  # two warm-ups
    weight.zero_()
    assert [captured.replay(torch.ones(1)).item() for _ in range(2)] == [1, 2]
    assert weight.item() == 2


def test_what_a_replay_changes_in_place_counts_as_changed():
    """Torch does not see a replay: caches and autograd go by versions."""
    weight, constant = torch.zeros(1), torch.ones(1)
    captured = capture(lambda x: weight.add_(x * constant), [torch.ones(1)])
    versions = weight._version, constant._version
    captured.replay(torch.ones(1))
    assert weight._version > versions[0]
    assert constant._version == versions[1]


def test_all_that_a_graph_reads_lives_as_long_as_it():
    kept = {"seen": torch.ones(1), "held": torch.ones(1)}

    def function(x: Tensor) -> Tensor:
        graphs.hold(kept["held"], lambda: bool(kept))
        return x + kept["seen"].view(1, 1)

    captured = capture(function, [torch.zeros(1, 1)])
    addresses = [each.data_ptr() for each in kept.values()]
    assert captured.is_current()
    kept.clear()
    assert not captured.is_current()
    gc.collect()
    assert {*addresses} <= {x.data_ptr() for x in captured._kept_alive}
    assert captured.replay(torch.zeros(1, 1)).item() == 1


@pytest.mark.parametrize("other", [torch.ones(3), torch.ones(2, dtype=torch.float64)])
def test_other_inputs_than_captured_are_refused(other: Tensor):
    captured = capture(_double, [torch.ones(2)])
    with pytest.raises(ValueError, match=r"captured for \[\(\(2,\), torch.float32\)\]"):
        captured.replay(other)


@pytest.mark.parametrize(
    ("operator", "function"),
    [
        ("_local_scalar_dense", lambda x: x * x.sum().item()),
        ("nonzero", lambda x: x.nonzero().sum()),
        ("index", lambda x: x[x > 0]),
        ("masked_select", lambda x: x.masked_select(x > 0)),
        ("equal", lambda x: x if torch.equal(x, x + 1) else 2 * x),
    ],
)
def test_what_the_host_must_wait_for_is_refused_by_name(graphs_on_cpu, operator, function):
    with pytest.raises(CaptureError, match=rf"aten.{operator}.* must wait for"):
        capture(function, [torch.ones(2)])
    assert graphs_on_cpu.captures == 0


def test_indices_and_masked_fills_are_captured():
    def function(x: Tensor) -> Tensor:
        x = x.clone()
        x[x > 1] = 0
        return x[torch.tensor([1, 0])]

    captured = capture(function, [torch.ones(2)])
    assert captured.replay(torch.tensor([3.0, 1.0])).tolist() == [1, 0]


def test_errors_of_the_function_pass():
    with pytest.raises(RuntimeError, match="must match the size"):
        capture(lambda x: x + torch.ones(3), [torch.ones(2)])


def test_a_failed_capture_names_its_first_error():
    def function(x: Tensor) -> Tensor:
        if graphs.is_capturing():
            raise RuntimeError("operation not permitted when stream is capturing")
        return 2 * x

    with pytest.raises(HitsrError, match="RuntimeError: operation not permitted"):
        capture(function, [torch.ones(2)])
    assert not graphs.is_capturing()


def test_a_capture_that_fails_at_its_end_says_so(graphs_on_cpu):
    graphs_on_cpu.failure = RuntimeError("out of memory")
    with pytest.raises(CaptureError, match="RuntimeError: operation failed"):
        capture(_double, [torch.ones(2)])


def test_work_on_cuda_is_warmed_up_and_captured_aside_and_replayed_in_turn(
    monkeypatch: pytest.MonkeyPatch,
):
    """No GPU is needed to see in which order CUDA is called, and with what."""
    calls: list[str] = []

    class Stream:
        def __init__(self, name: str = "") -> None:
            self.name = name or f"side {len(made)}"
            made.append(self)

        def wait_stream(self, other: "Stream") -> None:
            calls.append(f"{self.name} waits for {other.name}")

        def wait_event(self, event: "Event") -> None:
            calls.append(f"{self.name} waits for replay on {event.stream}")

    class Event:
        stream = ""

        def record(self, stream: Stream) -> None:
            self.stream = stream.name

    class Graph:
        def replay(self) -> None:
            calls.append(f"replay on {now[-1].name}")

    @contextmanager
    def entered(stream: Stream):
        now.append(stream)
        yield
        now.pop()

    @contextmanager
    def graph(*args: Any, **kwargs: Any):
        bound = inspect.signature(real).bind(*args, **kwargs).arguments
        calls.append(f"capture on {bound['stream'].name}, {bound['capture_error_mode']}")
        yield

    made: list[Stream] = []
    real, now = torch.cuda.graph, [Stream("main")]
    stand_in = {"Stream": Stream, "Event": Event, "CUDAGraph": Graph, "stream": entered}
    stand_in |= {"graph": graph, "device": lambda _: nullcontext()}
    for name, value in stand_in.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _=None: now[-1])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(graphs, "cuda", graphs.Cuda())
    monkeypatch.setattr(graphs.Cuda, "has_graphs", lambda *_: True)

    captured, _ = (capture(_double, [torch.ones(2)]) for _ in range(2))
    assert calls == [
        "side 1 waits for main",
        "capture on side 2, thread_local",
        "main waits for side 1",
        "side 1 waits for main",
        "capture on side 2, thread_local",
        "main waits for side 1",
    ]
    calls.clear()
    captured.replay(torch.ones(2))
    now.append(Stream("other"))
    captured.replay(torch.ones(2))
    assert calls == ["replay on main", "other waits for replay on main", "replay on other"]


def test_other_results_than_tensors_are_refused():
    with pytest.raises(CaptureError, match="returns dict; only tensors"):
        capture(lambda x: {"x": x}, [torch.ones(2)])


def test_a_cpu_has_no_graphs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(graphs, "cuda", graphs.Cuda())
    with pytest.raises(CaptureError, match="device is cpu; CUDA graphs need"):
        capture(_double, [torch.ones(2)])


def test_a_capture_is_outside_inference_mode_and_its_results_are_as_the_caller_s():
    seen = []

    def function(x: Tensor) -> Tensor:
        seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled(), x.is_inference()))
        return 2 * x

    with torch.inference_mode():
        captured = capture(function, [torch.ones(2)])
        assert captured.replay(torch.ones(2)).is_inference()
    assert set(seen) == {(False, False, False)}
    assert not captured.replay(torch.ones(2)).is_inference()


def test_autocast_around_a_capture_leaves_no_casts_behind():
    """Weights that autocast cached before would be read after they are gone."""
    layer = nn.Linear(4, 4)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        layer(torch.ones(1, 4))  # its cast weights are in autocast's cache now
        captured = capture(layer, [torch.ones(1, 4)])
        assert torch.is_autocast_cache_enabled()
    nn.init.constant_(layer.weight, 1)
    nn.init.zeros_(layer.bias)
    assert captured.replay(torch.ones(1, 4)).tolist() == [[4] * 4]


def test_whole_training_steps_are_those_without_a_graph(graphs_on_cpu):
    """Forward, backward, clipping and Adam; the rate of learning changes between steps."""
    batches = torch.rand(5, 2, 8, 4, generator=torch.Generator().manual_seed(0))
    rates = [0.1, 0.1, 0.05, 0.05, 0.01]
    assert _trained(batches, rates, graph=True) == _trained(batches, rates, graph=False)
    assert graphs_on_cpu.replays == 5


def _trained(batches: Tensor, rates: list[float], graph: bool) -> list[list[float]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
    rate = torch.tensor(0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)

    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.l1_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return loss

    run, versions = step, []
    if graph:
        initial = [parameter.detach().clone() for parameter in model.parameters()]
        run = capture(step, [torch.rand(8, 4), torch.rand(8, 4)]).replay
        with torch.no_grad():  # back to before the warm-up, in place
            torch._foreach_copy_(list(model.parameters()), initial)
            for state in optimizer.state.values():
                torch._foreach_zero_(list(state.values()))
    losses = []
    for batch, now in zip(batches, rates):
        rate.fill_(now)
        losses.append(run(*batch).item())
        versions.append(model[0].weight._version)
    assert not graph or versions == sorted(set(versions))  # each step counts as a change
    return [losses, *(parameter.flatten().tolist() for parameter in model.parameters())]


def test_random_numbers_go_on_from_replay_to_replay():
    def function(x: Tensor) -> Tensor:
        return x * torch.rand(2)

    captured = capture(function, [torch.ones(2)])
    torch.manual_seed(0)
    expected = [function(torch.ones(2)).tolist() for _ in range(3)]
    torch.manual_seed(0)
    assert [captured.replay(torch.ones(2)).tolist() for _ in range(3)] == expected
