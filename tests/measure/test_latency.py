import time
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.base.errors import SpecError
from hitsr.measure import energy, forwards
from hitsr.measure.forwards import Work
from hitsr.measure.latency import WarmUp, measure, measure_each, settled
from hitsr.records import Timing
from hitsr.runtime.graphs import WARM_UPS

CPU = torch.device("cpu")
SMALL = Work((17, 9), CPU)


class Sleeper(nn.Module):
    """Sleeps 10 ms less at every forward, from 50 ms on, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        time.sleep(max(0, 50 - 10 * len(self.seen)) / 1000)
        self.seen.append(x)
        return x


def _measure(model: nn.Module, work: Work = SMALL, *, warmup: int = 0, samples: int = 2) -> Timing:
    (found,) = measure([model], work, warmup=warmup, samples=samples, quiet=True)
    return found


def _clocked(monkeypatch: pytest.MonkeyPatch, times_ms: list[float]) -> None:
    """Let forwards on the CPU take these times, whatever they really take."""
    given = iter(times_ms)

    def timed(model: nn.Module, pictures: Tensor) -> float:
        model(pictures)
        return next(given)

    monkeypatch.setitem(forwards._CLOCKS, "cpu", ("wall", timed))


def test_keeps_every_sample_but_the_warm_up():
    model = Sleeper()
    found = _measure(model, warmup=2, samples=2)
    assert len(model.seen) == 4
    assert found.warmup == 2
    # A busy machine may take longer, but not less than the sleep (to a millisecond: two clocks).
    slept_ms = (50, 40, 30, 20)
    taken_ms = (*found.warmup_ms, *found.samples_ms)
    assert all(taken > slept - 1 for taken, slept in zip(taken_ms, slept_ms, strict=True))
    assert (found.clock, found.session) == ("wall", None)


def test_models_take_turns(monkeypatch: pytest.MonkeyPatch):
    _clocked(monkeypatch, [90.0, 9.0, 20.0, 2.0, 30.0, 3.0])
    order: list[str] = []

    class Says(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self, x: Tensor) -> Tensor:
            order.append(self.name)
            return x

    models = [Says("slow"), Says("fast")]
    slow, fast = measure(models, SMALL, warmup=1, samples=2, quiet=True)
    assert order == ["slow", "fast"] * 3
    assert (slow.warmup_ms, slow.samples_ms) == ((90.0,), (20.0, 30.0))
    assert (fast.warmup_ms, fast.samples_ms) == ((9.0,), (2.0, 3.0))
    assert slow.session == fast.session
    assert slow.session
    assert (slow.energy, slow.before) == (None, fast.before)


def test_every_session_has_its_own_name(monkeypatch: pytest.MonkeyPatch):
    _clocked(monkeypatch, [1.0, 2.0, 1.0, 3.0])
    pair = [nn.Identity(), nn.Identity()]
    first, second = (measure(pair, SMALL, warmup=0, samples=1, quiet=True) for _ in range(2))
    assert first[0].samples_ms == second[0].samples_ms
    assert first[0].session != second[0].session


def test_warming_up_ends_when_the_times_of_each_model_agree(monkeypatch: pytest.MonkeyPatch):
    _clocked(monkeypatch, [100.0, 500.0, 100.0, *[90.0, 100.0] * 9])
    pair = [nn.Identity(), nn.Identity()]
    for found in measure(pair, SMALL, warmup=9, samples=1, quiet=True):
        assert (found.warmup, found.warmup_stable) == (6, True)


def test_a_warm_model_waits_for_the_others(monkeypatch: pytest.MonkeyPatch):
    slow = [300.0] * 6  # settled after twice three forwards
    quick = [50.0] * 10  # after twice five
    turns = [time for pair in zip(slow, quick[:6]) for time in pair]
    _clocked(monkeypatch, [*turns, *quick[6:], 301.0, 51.0])
    first, second = measure([nn.Identity()] * 2, SMALL, warmup=20, samples=1, quiet=True)
    assert (first.warmup, second.warmup) == (6, 10)
    assert (first.samples_ms, second.samples_ms) == ((301.0,), (51.0,))


def test_sees_one_picture_of_noise_the_same_every_time():
    first, second = Sleeper(), Sleeper()
    _measure(first), _measure(second)
    assert first.seen[0].shape == (1, 3, 9, 17)
    assert 0 <= first.seen[0].min() < first.seen[0].max() <= 1
    assert torch.equal(first.seen[0], second.seen[1])


def test_warming_up_ends_when_the_last_times_agree(monkeypatch: pytest.MonkeyPatch):
    falling = [900.0, 500.0, 200.0]
    _clocked(monkeypatch, [*falling, *[100.0, 101.0] * 10])
    found = _measure(nn.Identity(), warmup=20)
    assert found.warmup_ms == (*falling, *[100.0, 101.0] * 2, 100.0)
    assert found.warmup_stable
    assert found.samples_ms == (101.0, 100.0)


def test_warming_up_ends_at_its_limit_and_says_so(monkeypatch: pytest.MonkeyPatch):
    _clocked(monkeypatch, [100.0 * 1.1**n for n in range(10)])
    found = _measure(nn.Identity(), warmup=7)
    assert (found.warmup, found.warmup_stable) == (7, False)


def test_few_or_no_forwards_do_not_tell_whether_times_agree(monkeypatch: pytest.MonkeyPatch):
    for warmup in (0, 5):
        _clocked(monkeypatch, [100.0] * 7)
        found = _measure(nn.Identity(), warmup=warmup)
        assert (found.warmup, found.warmup_stable) == (warmup, None)


def test_quick_forwards_agree_over_a_quarter_of_a_second():
    assert settled([10.0] * 49) is None
    assert settled([10.0] * 50)
    assert not settled([10.4] * 25 + [10.0] * 25)
    assert settled([10.0] * 5 + [15.0] + [10.0] * 44)  # a single slow one is no trend


@pytest.mark.parametrize(
    ("times_ms", "forwards"),
    [
        # A clock that rises for half a second: 1 s at least, although 0.5 s agree before.
        ([20.0] * 25 + [10.0] * 200, 1 + 24 + 52),
        ([10.0] * 300, 1 + 100),
        # A first forward that compiles for 5 s does not heat the GPU.
        ([5000.0] + [10.0] * 300, 1 + 100),
        # Times that never agree: 10 s.
        ([100.0 * 1.01**n for n in range(200)], 1 + 70),
        # A forward too quick to ever take a second.
        ([0.001] * 2000, 1000),
        # Slow ones: as many as asked for.
        ([9000.0, 12000.0, 7000.0, 6000.0], 2),
    ],
)
def test_a_gpu_is_warmed_up_for_seconds_not_only_for_forwards(times_ms, forwards: int):
    cuda, limit = torch.device("cuda", 0), WarmUp(2)
    assert next(n for n in range(2001) if limit.is_enough(times_ms[:n], cuda)) == forwards
    assert limit.is_enough([1.0, 2.0], CPU)
    assert WarmUp(0).is_enough([], cuda)


def test_seconds_that_are_asked_for_hold_on_every_device():
    rising_ms = [100.0 + 50 * n for n in range(60)]
    for device in (CPU, torch.device("cuda", 0)):
        for seconds, expected in ((0.4, 4), (2.6, 9), (0.0, 2)):
            limit = WarmUp(2, seconds)
            found = next(n for n in range(60) if limit.is_enough(rising_ms[:n], device))
            assert found == expected


def test_pictures_and_weights_are_as_asked_for():
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.shapes: list[torch.Size] = []

        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype == self.conv.weight.dtype == torch.bfloat16
            for each in (x, self.conv.weight):
                assert each.is_contiguous(memory_format=torch.channels_last)
            self.shapes.append(x.shape)
            return x

    model = Looks()
    work = SMALL._replace(batch=3, precision="bfloat16", channels_last=True)
    found = _measure(model, work)
    assert model.shapes[-1] == (3, 3, 9, 17)
    assert (found.batch, found.precision, found.channels_last) == (3, "bfloat16", True)


def test_a_network_that_was_moved_keeps_its_position_biases():
    """Else each forward of the fused formulation would compute them anew, and be timed so."""
    small = {"depths": [1], "width": 12, "mixer.heads": 2, "windows.ratios": [1]}
    model = hitsr.create(hitsr.NETWORKS["swinir_light"].patch(small), 2)
    _measure(model, SMALL._replace(precision="bfloat16"))
    assert model.groups[0].blocks[0].mixer.cache._kept


def test_autocast_is_the_products_dtype_and_not_the_weights():
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            assert x.dtype == self.conv.weight.dtype == torch.float32
            out = self.conv(x)
            assert out.dtype == torch.bfloat16
            return out

    found = _measure(Looks(), SMALL._replace(precision="autocast"))
    assert found.precision == "autocast"


def test_what_cannot_run_is_told_before_long_work():
    seen = []

    class Single(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape)
            return x @ torch.ones(x.shape[-1], 1)  # float32, whatever x is

    with pytest.raises(SpecError, match=r"float16 on cpu: cannot run.*use float32"):
        _measure(Single(), Work((640, 360), CPU, precision="float16"))
    assert seen == [(1, 3, 64, 64)]


def test_out_of_memory_is_told_in_a_sentence():
    class Huge(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise torch.OutOfMemoryError

    with pytest.raises(SpecError, match="2 of 17x9 in float32 on cpu: out of memory"):
        _measure(Huge(), SMALL._replace(batch=2))


@pytest.mark.parametrize("lasts", [0, 1, 3])
def test_a_model_that_fails_costs_the_others_nothing(lasts: int):
    class Fails(nn.Module):
        seen = 0

        def forward(self, x: Tensor) -> Tensor:
            if self.seen == lasts:
                raise TypeError("no such thing")
            self.seen += 1
            return x

    models = [nn.Identity(), Fails(), nn.Identity()]
    first, failed, last = measure_each(
        [(model, SMALL) for model in models], warmup=2, samples=2, quiet=True
    )
    assert isinstance(first, Timing)
    assert isinstance(last, Timing)
    assert len(first.samples_ms) == len(last.samples_ms) == 2
    assert first.session is not None
    assert first.session == last.session
    assert "17x9 in float32 on cpu: cannot run this network: TypeError: no such thing" in str(
        failed
    )
    with pytest.raises(SpecError, match="no such thing"):
        measure(models, SMALL, warmup=0, samples=1, quiet=True)


def test_the_triton_kernels_of_each_forward_are_named(monkeypatch: pytest.MonkeyPatch):
    triton = pytest.importorskip("triton", reason="comes with PyTorch for CUDA")
    if not triton.knobs.runtime.interpret:
        pytest.skip("needs TRITON_INTERPRET=1, set before Triton is imported")
    from hitsr.models.fused.cuda.kernels.norm import layer_norm

    class Normed(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return layer_norm(x, self.weight, self.bias, self.eps)

    models = [Normed(SMALL.input_size[0]), nn.Identity()]
    without = measure(models, SMALL, warmup=0, samples=1, quiet=True)
    assert not any("triton_kernels" in found.settings for found in without)  # a CPU has none
    monkeypatch.setattr(forwards, "_has_triton_kernels", lambda _: True)
    found = measure(models, SMALL, warmup=0, samples=1, quiet=True)
    assert [timing.settings["triton_kernels"] for timing in found] == ["_norm", "none"]


def test_compiling_is_timed_apart(monkeypatch: pytest.MonkeyPatch):
    _clocked(monkeypatch, [5000.0, 2.0, 1.0])
    asked = []
    monkeypatch.setattr(nn.Module, "compile", lambda _self, *, dynamic: asked.append(dynamic))
    found = _measure(nn.Identity(), SMALL._replace(launch="compiled"), warmup=1, samples=1)
    assert asked == [False]
    assert (found.launch, found.preparation_seconds) == ("compiled", 5.0)
    assert (found.warmup_ms, found.samples_ms) == ((2.0,), (1.0,))


def test_no_compiler_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(nn.Module, "compile", broken)
    with pytest.raises(SpecError, match=r"torch\.compile cannot .* no C\+\+ compiler found"):
        _measure(nn.Identity(), SMALL._replace(launch="compiled"))


@pytest.mark.parametrize(
    ("models", "batch", "warmup", "samples"),
    [(1, 1, 0, 0), (1, 1, -1, 1), (1, 0, 0, 1), (0, 1, 0, 1)],
)
def test_no_samples_is_an_error(models: int, batch: int, warmup: int, samples: int):
    work = SMALL._replace(batch=batch)
    with pytest.raises(ValueError, match="needs models, samples, pictures"):
        measure([Sleeper()] * models, work, warmup=warmup, samples=samples, quiet=True)


def test_apples_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: order.append("wait"))

    class Work(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            order.append("work")
            return x

    clock, timed = forwards._CLOCKS["mps"]
    assert clock == "wall"
    assert timed(Work(), torch.ones(1)) > 0
    assert order == ["wait", "work", "wait"]


class Nvml(SimpleNamespace):
    """Stands for pynvml, with a GPU that has consumed 1 J more at each look."""

    class NVMLError(Exception):
        pass

    def __init__(self, counts: bool) -> None:
        super().__init__(counts=counts, millijoules=5000)

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if not self.counts:
            raise self.NVMLError
        assert handle == "GPU-1-2"
        self.millijoules += 1000
        return self.millijoules


def test_energy_is_what_the_counter_rose_by(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(energy, "gpu_uuid", lambda _: "GPU-1-2")
    monkeypatch.setattr(energy, "import_module", lambda _: Nvml(counts=True))
    consumed = energy.start_meter(torch.device("cuda", 0))
    time.sleep(0.01)
    found = consumed()
    assert found is not None
    assert found.joules == 1
    assert 0.01 <= found.seconds < 1


def test_energy_is_absent_where_nothing_counts_it(monkeypatch: pytest.MonkeyPatch):
    def no_package(_: str) -> None:
        raise ImportError

    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(energy, "gpu_uuid", lambda _: "GPU-1-2")
    monkeypatch.setattr(energy, "import_module", no_package)
    assert energy.start_meter(cuda)() is None
    monkeypatch.setattr(energy, "import_module", lambda _: Nvml(counts=False))
    assert energy.start_meter(cuda)() is None
    assert energy.start_meter(CPU)() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_timed_by_its_events():
    conv, work = nn.Conv2d(3, 64, 3, padding=1), Work((512, 512), torch.device("cuda", 0))
    found = _measure(conv, work, warmup=3, samples=5)
    assert found.clock == "cuda_events"
    assert all(0 < sample < 1000 for sample in found.samples_ms)
    assert found.after is not None
    assert found.after.gpu_driver


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_graph_is_captured_before_the_warm_up_and_replayed():
    calls = []

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(x.shape)
            return self.conv(x)

    found = _measure(Counts(), SMALL._replace(launch="graph"), warmup=2, samples=3)
    assert (found.launch, len(found.samples_ms)) == ("graph", 3)
    assert found.preparation_seconds
    assert len(calls) == WARM_UPS + 1  # the last one is captured; replays call nothing


def test_what_cannot_be_a_graph_is_told_and_never_timed_without():
    with pytest.raises(SpecError, match=r"CUDA graph: the device is cpu"):
        _measure(nn.Conv2d(3, 4, 3), SMALL._replace(launch="graph"))
