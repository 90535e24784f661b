"""Steps alone and in a training; CUDA graphs are those of a stand-in for CPUs (`StandIn`)."""

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hitsr.base.seeds import derive
from hitsr.data.patches import Patches
from hitsr.models.backbone import create
from hitsr.records import LogLine, TrainingRecord, read_log
from hitsr.runtime.tensors import evaluating
from hitsr.specs.network import NetworkSpec
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec
from hitsr.specs.zoo import NETWORKS
from hitsr.training.journal import USUAL, Circumstances
from hitsr.training.kernels import autocast_of
from hitsr.training.loop import train
from hitsr.training.processes import ALONE, Processes
from hitsr.training.schedule import learning_rate
from hitsr.training.step import TrainingStep

CPU = torch.device("cpu")
# Random numbers in each step, and in eval mode cached biases.
CHANGES = {
    "depths": [2], "windows.base": 4, "width": 12, "mixer.heads": 2, "stochastic_depth": 0.5,
}  # fmt: skip


def _tiny(network: NetworkSpec) -> NetworkSpec:
    is_conversion = network.mixer.kind == "correlation"
    return network.patch({**CHANGES, "windows.ratios": [0.5, 1] if is_conversion else [1, 1]})


TINY = {name: _tiny(network) for name, network in NETWORKS.items()}


def train_tiny(
    out: Path, *, model: nn.Module | None = None, network: NetworkSpec = TINY["hit_sir"],
    steps: int = 8, batch: int = 2, patch: int = 8, device: torch.device = CPU,
    said: list[str] | None = None, graph: Any = True, circumstances: Circumstances = USUAL,
    processes: Processes = ALONE, at_validation: Callable[[], object] = lambda: None,
    **recipe: Any,
) -> TrainingRecord | None:  # fmt: skip
    """Train, with a validation that sees all weights."""
    values = {"learning_rate": 3e-3, "milestones": (5,), "log_every": 1, "validate_every": 2}
    run = RunSpec(
        network=network, scale=2, seed=1, data="train", validation="test",
        recipe=Recipe(steps=steps, batch=batch, patch=patch, **values | recipe),
    )  # fmt: skip
    hr = np.random.default_rng(0).integers(0, 256, (4 * patch, 4 * patch, 3), np.uint8)
    patches = Patches(
        [(hr[::2, ::2], hr)], scale=2, patch=patch, batch=batch, seed=derive(run.seed, "patches")
    )
    if model is None:
        torch.manual_seed(derive(run.seed, "weights"))
        model = create(run.network, run.scale, autocast=autocast_of(run.recipe))

    def validate(model: nn.Module) -> float:
        at_validation()
        with evaluating(model), torch.inference_mode():
            out: Tensor = model(torch.linspace(0, 1, 3 * 64).view(1, 3, 8, 8).to(device))
        return float(50 * out.double().abs().mean().clamp(max=2))

    return train(
        model, run, patches, validate, out, device, job_hash="0", graph=graph,
        circumstances=circumstances, processes=processes,
        tell=(said if said is not None else []).append, quiet=True,
    )  # fmt: skip


def trained(out: Path, **options: Any) -> tuple[TrainingRecord, list[LogLine], bytes]:
    """Record, log without clock and weights file of `train_tiny`."""
    record = train_tiny(out, **options)
    assert record is not None
    return record, *results(out)


def results(out: Path) -> tuple[list[LogLine], bytes]:
    """Log without clock, and weights file."""
    clocks = {"seconds": 0, "device_seconds": 0}
    log = [line.model_copy(update=clocks) for line in read_log(out / "log.jsonl")]
    return log, (out / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "precision"),
    [*product(TINY, ["float32"]), ("hit_sir", "bfloat16"), ("swinir_light", "bfloat16")],
)
def test_a_training_with_a_graph_is_that_without(
    tmp_path: Path, graphs_on_cpu: Any, name: str, precision: str
):
    options = {"network": TINY[name], "precision": precision}
    plain, *expected = trained(tmp_path / "plain", graph=False, **options)
    graphed, *found = trained(tmp_path / "graph", **options)
    assert found == expected
    assert len({line.validation_psnr_db for line in found[0]}) == 5  # None, and four others
    assert (plain.graph, plain.no_graph, graphed.graph, graphed.no_graph) == (
        False, None, True, None,
    )  # fmt: skip
    assert (graphs_on_cpu.captures, graphs_on_cpu.replays) == (1, 5)


class Asking(nn.Module):
    """A network whose forward waits for a value, between two draws of random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.rand(1)
        if x.mean().item() > 100:
            raise AssertionError
        return nn.functional.pixel_shuffle(self.body(x * torch.rand(1)), 2)


def _asking() -> nn.Module:
    torch.manual_seed(0)
    return Asking()


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_step_that_waits_for_the_device_is_taken_without_a_graph(tmp_path: Path):
    said: list[str] = []
    _, *expected = trained(tmp_path / "plain", graph=False, model=_asking())
    record, *found = trained(tmp_path / "graph", model=_asking(), said=said)
    assert found == expected
    assert record.no_graph is not None
    assert "_local_scalar_dense" in record.no_graph
    assert not record.graph
    (word,) = said
    assert word.startswith("hit_sir-x2-s1: steps are launched kernel by kernel, not as a CUDA")
    assert record.no_graph in word


def test_after_a_capture_that_failed_steps_go_on_as_they_would_have(
    tmp_path: Path, graphs_on_cpu: Any
):
    said: list[str] = []
    _, *expected = trained(tmp_path / "plain", graph=False)
    graphs_on_cpu.failure = RuntimeError("no more memory")
    record, *found = trained(tmp_path / "graph", said=said)
    assert found == expected
    assert record.no_graph is not None
    assert "previous error during capture" in record.no_graph
    assert len(said) == 1


def test_a_cpu_is_told_only_when_a_graph_is_asked_for(tmp_path: Path):
    said: list[str] = []
    _, *expected = trained(tmp_path / "auto", graph="auto", said=said)
    assert said == []
    record, *found = trained(tmp_path / "graph", graph=True, said=said)
    assert found == expected
    assert record.no_graph is not None
    assert "CUDA graphs need a CUDA device" in record.no_graph
    assert len(said) == 1


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_training_of_two_steps_captures_nothing(tmp_path: Path):
    record, *_ = trained(tmp_path, steps=2, milestones=())
    assert (record.graph, record.no_graph) == (False, "only 2 steps were taken")


# One step: averages, clipping, parts, float16, steps without a finite gradient.

STILL = TINY["hit_sir"].patch({"stochastic_depth": 0.0})


def _model(network: NetworkSpec = TINY["hit_sir"], **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create(network, 2, **options).train()


def _recipe(**values: Any) -> Recipe:
    usual = {"steps": 100, "batch": 4, "patch": 8, "learning_rate": 3e-3}
    return Recipe(**usual | values)


def _step(
    network: NetworkSpec = TINY["hit_sir"], *, model: nn.Module | None = None, graph: bool = False,
    **recipe: Any,
) -> TrainingStep:  # fmt: skip
    made = _recipe(**recipe)
    if model is None:
        model = _model(network, autocast=autocast_of(made))
    return TrainingStep(model, made, CPU, graph, pytest.fail, seed=7)


def _batch(number: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(number)
    lr, hr = (torch.rand(4, 3, side, side, generator=random) for side in (8, 16))
    return lr, hr


def _take(step: TrainingStep, steps: int = 5) -> list[Tensor]:
    """Results of steps on the batches of their numbers."""
    return [step(*_batch(step.taken + 1)) for _ in range(steps)]


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _named(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): each for key, each in state.items() if key.startswith(prefix)}


def _parts_by_hand(parts: int, steps: int, **values: Any) -> dict[str, Tensor]:
    """Weights after steps of which gradients are added part by part, for Adam of torch."""
    model, recipe = _model(), _recipe(**values)
    parameters = list(model.parameters())
    adam = torch.optim.Adam(parameters, betas=recipe.betas, fused=True)
    for number in range(1, steps + 1):
        total = [torch.zeros_like(each) for each in parameters]
        for part, batch in enumerate(zip(*(each.chunk(parts) for each in _batch(number)))):
            torch.manual_seed(derive(7, f"step {number}, part {part}"))
            loss = nn.functional.l1_loss(model(batch[0]), batch[1])
            for sum_, grad in zip(total, torch.autograd.grad(loss, parameters), strict=True):
                sum_ += grad
        for parameter, sum_ in zip(parameters, total, strict=True):
            parameter.grad = sum_ / parts
        adam.param_groups[0]["lr"] = learning_rate(recipe, number)
        adam.step()
    return {name: each.detach() for name, each in model.named_parameters()}


@pytest.mark.usefixtures("graphs_on_cpu")
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_are_added_in_order_at_the_rate_of_the_schedule(parts: int, graph: bool):
    values: dict[str, Any] = {"warm_up": 3, "milestones": (5,), "decay": 0.25}
    step = _step(graph=graph, parts=parts, **values)
    for _ in range(7):
        torch.rand(step.taken)  # what is drawn between steps does not matter
        _take(step, 1)
    assert step.is_captured == graph
    assert _equal(_named(step.state(), "weight/"), _parts_by_hand(parts, 7, **values))


def test_parts_give_what_the_whole_batch_gives():
    """In float64, where gradients differ by 1e-16 of the largest, which is below 1.

    Adam divides a gradient by its size plus 1e-8, so a step changes by 1e-8 of the rate, 3e-3.
    """
    whole, *others = (
        _step(model=_model(STILL).double(), parts=parts, milestones=(3,)) for parts in (1, 2, 4)
    )
    expected = [whole(*(each.double() for each in _batch(n))) for n in range(5)]
    for step in others:
        found = [step(*(each.double() for each in _batch(n))) for n in range(5)]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        for name, weights in whole.state().items():
            torch.testing.assert_close(step.state()[name], weights, rtol=0, atol=1e-8)


def test_random_numbers_depend_on_the_seed():
    one, other = _step(), TrainingStep(_model(), _recipe(), CPU, False, pytest.fail, seed=8)
    assert not torch.equal(torch.stack(_take(one)), torch.stack(_take(other)))


@pytest.mark.usefixtures("graphs_on_cpu")
@pytest.mark.parametrize("graph", [False, True])
def test_the_average_is_that_of_basicsr(graph: bool):
    step, plain = _step(graph=graph, ema=0.9), _step()
    average = _named(step.state(), "weight/")
    assert _equal(_named(step.state(), "average/"), average)
    for _ in range(6):
        _take(step, 1), _take(plain, 1)
        for name, weights in _named(step.state(), "weight/").items():
            average[name].mul_(0.9).add_(weights, alpha=1 - 0.9)
        found = _named(step.state(), "average/")
        torch.testing.assert_close(found, average, rtol=1e-5, atol=1e-7)
    state = step.state()
    assert step.is_captured == graph
    assert _equal(_named(state, "weight/"), _named(plain.state(), "weight/"))
    assert not torch.allclose(state["weight/first.weight"], found["first.weight"], atol=1e-4)


def test_the_average_is_the_result_and_the_networks_own_weights_come_back():
    model = _model()
    step = _step(model=model, ema=0.9)
    _take(step)
    state = step.state()
    with suppress(KeyError), step.with_result():
        seen = {name: each.detach().clone() for name, each in model.named_parameters()}
        raise KeyError
    assert _equal(seen, _named(state, "average/"))
    assert _equal(step.state(), state)


@pytest.mark.usefixtures("graphs_on_cpu")
@pytest.mark.parametrize("graph", [False, True])
def test_what_is_validated_changes_no_training(tmp_path: Path, graph: bool):
    _, plain, _ = trained(tmp_path / "plain", graph=graph)
    _, weights, _ = trained(tmp_path / "own", graph=graph, ema=0.9, validated="weights")
    _, average, _ = trained(tmp_path / "average", graph=graph, ema=0.9)
    results = {
        name: load_file(tmp_path / name / "weights.safetensors")
        for name in ("plain", "own", "average")
    }
    assert plain == weights
    assert [line.loss for line in average] == [line.loss for line in plain]
    for line, other in zip(average, plain, strict=True):
        psnrs = line.validation_psnr_db, other.validation_psnr_db
        assert psnrs == (None, None) or psnrs[0] != psnrs[1]
    assert _equal(results["own"], results["average"])
    assert not _equal(results["own"], results["plain"])


def _by_torch(precision: torch.dtype | None, limit: float | None, scale: float = 2.0**16) -> Any:
    """Weights and scale after five steps of torch's own classes; and how many changed nothing."""
    model = _model(STILL, autocast=precision or False)
    parameters, skipped = list(model.parameters()), 0
    adam = torch.optim.Adam(parameters, lr=3e-3, betas=(0.9, 0.99), fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=precision is not None)
    for number in range(1, 6):
        adam.zero_grad()
        lr, hr = _batch(number)
        scaler.scale(nn.functional.l1_loss(model(lr), hr)).backward()
        if limit is not None:
            scaler.unscale_(adam)
            torch.nn.utils.clip_grad_norm_(parameters, limit)
        before = scaler.get_scale()
        scaler.step(adam)
        scaler.update()
        skipped += scaler.get_scale() < before
    return {name: each.detach() for name, each in model.named_parameters()}, scaler, skipped


@pytest.mark.parametrize("limit", [0.02, 1e6])
def test_gradients_are_clipped_as_torch_clips_them(limit: float):
    model = _model(STILL)
    step = _step(model=model, clip=limit)
    _take(step)
    found = _named(step.state(), "weight/")
    expected, *_ = _by_torch(None, limit)
    # Torch adds 1e-6 to the norm, which is about 0.1.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    norm = torch.nn.utils.get_total_norm([each.grad for each in model.parameters()])
    assert norm.item() == pytest.approx(limit, rel=1e-4) if limit < 1 else norm > 0.02
    assert _equal(found, _by_torch(None, None)[0]) == (limit > 1)


@pytest.mark.parametrize("scale", [2.0**6, 2.0**18])
def test_float16_is_scaled_as_by_torchs_scaler(scale: float):
    step = _scaled(scale)
    bad = sum(result[1].item() for result in _take(step))
    expected, scaler, skipped = _by_torch(torch.float16, None, scale)
    found = step.state()
    assert bad == skipped
    assert (skipped > 0) == (scale > 2**6)
    assert found["scale/value"].item() == scaler.get_scale()
    assert _equal(_named(found, "weight/"), expected)  # a power of two divides exactly


@pytest.mark.parametrize("parts", [1, 2])
def test_scaled_gradients_are_clipped_as_torch_clips_them(parts: int):
    model = _model(STILL, autocast=torch.float16)
    _take(_scaled(2.0**6, model=model, clip=0.02, parts=parts), 1)
    other = _model(STILL, autocast=torch.float16)
    lr, hr = _batch(1)
    (64 * nn.functional.l1_loss(other(lr), hr)).backward()
    for parameter in other.parameters():
        parameter.grad /= 64
    assert torch.nn.utils.clip_grad_norm_(other.parameters(), 0.02) > 0.04
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        # Products of parts are rounded otherwise, to 10 bits each.
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=2e-5 * (parts - 1) + 1e-9)


def _scaled(scale: float, graph: bool = False, **options: Any) -> TrainingStep:
    step = _step(STILL, precision="float16", graph=graph, **options)
    step.load(step.state() | {"scale/value": torch.tensor(scale)}, 0)
    return step


@pytest.mark.usefixtures("graphs_on_cpu")
def test_float16_trains_as_float32_does():
    found, plain = (_scaled(2.0**6, graph) for graph in (True, False))
    losses = [torch.stack(_take(step, 8)) for step in (found, plain, _step(STILL))]
    assert found.is_captured
    assert torch.equal(losses[0], losses[1])
    assert _equal(found.state(), plain.state())
    torch.testing.assert_close(losses[0], losses[2], rtol=0.01, atol=0)


@pytest.mark.usefixtures("graphs_on_cpu")
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "recipe", [{}, {"parts": 2}, {"clip": 0.1}, {"precision": "float16", "parts": 2}]
)
@pytest.mark.parametrize("at", [1, 5])  # before there are moments; with a graph
def test_a_step_that_is_not_finite_changes_no_bit(graph: bool, recipe: dict[str, Any], at: int):
    step, spared = (_step(STILL, graph=graph, **recipe) for _ in range(2))
    _take(step, at - 1), _take(spared, at - 1)
    before = step.state()
    lr, hr = _batch(at)
    hr[-1, 0, 0, 0] = torch.inf  # in the last part
    loss, bad = step(lr, hr).tolist()
    assert (loss, bad) == (torch.inf, 1)
    after, scales = step.state(), before.get("scale/value")
    if scales is not None:
        assert after.pop("scale/value") == scales / 2
        assert after.pop("scale/good") == 0
    untouched = {name: each for name, each in after.items() if name in before}
    assert _equal(untouched, {name: before[name] for name in untouched})
    assert all((each == 0).all() for name, each in after.items() if name not in before)
    for _ in range(0 if scales is not None else 3):  # goes on as if nothing had been
        batch = _batch(step.taken)
        torch.testing.assert_close(step(*batch), spared(*batch), rtol=0, atol=0)


def test_a_gradient_that_is_not_finite_is_noticed_though_the_loss_is():
    model = _model()
    step = _step(model=model)
    _take(step, 2)
    before = step.state()
    with model.upsample[0].bias.register_hook(lambda grad: grad * torch.nan):
        loss, bad = step(*_batch(3))
    assert loss.isfinite()
    assert bad == 1
    assert _equal(step.state(), before)
    assert step(*_batch(4))[1] == 0


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("graph", [False, True])
def test_first_only_the_upsampler_learns(graphs_on_cpu: Any, graph: bool, parts: int):
    step = _step(graph=graph, upsampler_only=4, parts=parts)
    states = [step.state()]
    for _ in range(9):
        _take(step, 1)
        states.append(step.state())
    for number, (before, after) in enumerate(pairwise(states), 1):
        learnt = {key for key in before if not torch.equal(before[key], after[key])}
        names = {key.removeprefix("weight/") for key in learnt if key.startswith("weight/")}
        assert any(name.startswith("upsample.") for name in names)
        assert any(not name.startswith("upsample.") for name in names) == (number > 4)
    assert not any(key.startswith("exp_avg/first") for key in states[4])
    assert states[9]["step/first.weight"] == 5
    assert states[9]["step/upsample.0.weight"] == 5  # its moments begin anew
    assert step.is_captured == graph
    # The third step of each phase is captured, its last part; others follow.
    expected = (2, (1 + 2) * parts) if graph else (0, 0)
    assert (graphs_on_cpu.captures, graphs_on_cpu.replays) == expected
    plain = _step(upsampler_only=4, parts=parts)
    _take(plain, 9)
    assert _equal(plain.state(), states[9])


@pytest.mark.usefixtures("graphs_on_cpu")
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"parts": 2, "ema": 0.9},
        {"precision": "float16", "clip": 0.1},
        {"upsampler_only": 3},
        {"upsampler_only": 5},
    ],
)
def test_a_step_goes_on_from_its_state_to_the_bit(graph: bool, recipe: dict[str, Any]):
    whole, first = _step(graph=graph, **recipe), _step(graph=graph, **recipe)
    _take(whole, 8), _take(first, 4)
    second = _step(model=_other_weights(recipe), graph=graph, **recipe)
    second.load(first.state(), 4)
    assert _equal(second.state(), first.state())
    _take(second, 4)
    assert _equal(second.state(), whole.state())
    assert second.taken == 8


def _other_weights(recipe: dict[str, Any]) -> nn.Module:
    model = _model(autocast=autocast_of(_recipe(**recipe)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    return model


@pytest.mark.usefixtures("graphs_on_cpu")
def test_the_fastest_kernels_train_too(tmp_path: Path):
    options = {"parts": 2, "ema": 0.9, "clip": 0.1, "deterministic": False}
    record, found, _ = trained(tmp_path / "fast", **options)
    _, expected, _ = trained(tmp_path / "exact", **options | {"deterministic": True})
    assert record.graph
    losses = [line.loss for line in found]
    assert losses == pytest.approx([line.loss for line in expected], rel=1e-3)
