import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.models.attention import Attention
from hitsr.models.backbone import SuperResolver
from hitsr.models.fused.cache import EvalCache
from hitsr.runtime.graphs import capture

SMALL = {
    "depths": [2],
    "width": 12,
    "mixer.heads": 2,
    "windows": {"base": 4, "ratios": [1, 1], "shift": False},
}


@pytest.fixture(params=["swinir_light", "hit_sir"])
def model(request: pytest.FixtureRequest) -> SuperResolver:
    torch.manual_seed(0)
    changes = copy.deepcopy(SMALL)
    changes["windows"]["shift"] = request.param == "swinir_light"
    network = hitsr.NETWORKS[request.param].patch(changes)
    return hitsr.create(network, 2).eval()


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.rand(1, 3, 8, 8)


def _uncached(model: SuperResolver, x: Tensor) -> Tensor:
    """What a model of these weights that never cached anything says."""
    fresh = hitsr.create(model.network, model.scale).to(x)
    fresh.load_state_dict(model.state_dict())
    return fresh.eval()(x).detach()


def _kept(model: nn.Module) -> int:
    caches = [m.cache for m in model.modules() if hasattr(m, "cache")]
    assert caches
    return sum(len(cache._kept) for cache in caches)


def _agree(model: SuperResolver, x: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(model(x), _uncached(model, x), rtol=0, atol=1e-7)


class Counted(nn.Module):
    """Computes a cached double of its weight, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.cache, self.times = EvalCache(), 0

    def forward(self) -> Tensor:
        return self.cache.get(self, "double", self._double)

    def _double(self) -> Tensor:
        self.times += 1
        return self.weight * 2


def test_computes_once_in_eval_mode_without_gradients():
    counted = Counted().eval()
    with torch.no_grad():
        first = counted()
        with torch.inference_mode():
            assert counted() is first
    assert counted.times == 1


def test_frozen_weights_are_cached_under_grad_too():
    counted = Counted().eval().requires_grad_(False)
    assert counted() is counted()


def test_gradients_and_training_get_fresh_values():
    counted = Counted().eval()
    counted().sum().backward()
    assert torch.equal(counted.weight.grad, torch.full((3,), 2.0))
    counted.train()
    with torch.no_grad():
        counted()
        counted()
    assert counted.times == 3
    assert not counted.cache._kept


def test_nothing_is_kept_in_training(model: SuperResolver, x: Tensor):
    with torch.no_grad():
        model(x)
    assert _kept(model) > 0
    model.train()(x)
    assert _kept(model) == 0


def test_a_loaded_state_dict_counts_at_once(model: SuperResolver, x: Tensor):
    with torch.no_grad():
        model(x)
    other = hitsr.create(model.network, model.scale)
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.load_state_dict(other.state_dict())
    _agree(model, x)


def test_weights_loaded_in_inference_mode_count_at_once(model: SuperResolver, x: Tensor):
    other = hitsr.create(model.network, model.scale)
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.2)
    with torch.inference_mode():
        model(x)
        model.load_state_dict(other.state_dict())
        found = model(x)
    torch.testing.assert_close(found.clone(), _uncached(other, x))


@pytest.mark.parametrize("way", [{}, {"foreach": True}, {"fused": True}])
def test_an_optimizer_step_counts_at_once(model: SuperResolver, x: Tensor, way: dict[str, bool]):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, **way)
    with torch.no_grad():
        before = model(x)
    model(x).square().mean().backward()
    optimizer.step()
    _agree(model, x)
    with torch.no_grad():
        assert (model(x) - before).abs().max() > 1e-3


def test_a_parameter_in_the_place_of_one_that_is_gone_counts():
    """Python gives an object's id away once it is gone; a version starts at zero again."""
    torch.manual_seed(0)
    fused, paper = (Attention(12, 2, 4, 0, 1, None, form).eval() for form in ("fused", "paper"))
    x = torch.randn(1, 4, 4, 12)
    with torch.no_grad():
        fused.bias_table = nn.Parameter(torch.randn(49, 2))
        for count in range(1, 8):  # which replacement takes a lost id is up to the allocator
            fused(x)
            for _ in range(count):
                fused.bias_table = nn.Parameter(torch.randn(49, 2) * 5)
            paper.load_state_dict(fused.state_dict())
            torch.testing.assert_close(fused(x), paper(x))


def test_weights_lent_for_one_call_count_in_that_call_alone(model: SuperResolver, x: Tensor):
    with torch.no_grad():
        before = model(x)
        for factor in range(2, 12):
            lent = {key: value * factor for key, value in model.state_dict().items()}
            found = torch.func.functional_call(model, lent, x)
            other = hitsr.create(model.network, model.scale).eval()
            other.load_state_dict(lent)
            torch.testing.assert_close(found, other(x), rtol=1e-4, atol=1e-4)
        assert torch.equal(model(x), before)


def test_other_dtypes_count_at_once(model: SuperResolver, x: Tensor):
    with torch.no_grad():
        model(x)
        model.double()
        assert model(x.double()).dtype == torch.float64
        _agree(model, x.double())
        model.float()
    _agree(model, x)


def test_gradients_flow_after_inference_mode(model: SuperResolver, x: Tensor):
    with torch.inference_mode():
        model(x)
    frozen = x.clone().requires_grad_()
    model.requires_grad_(False)
    model(frozen).sum().backward()  # what was kept in inference mode can be differentiated through
    assert frozen.grad.abs().sum() > 0
    model.requires_grad_(True)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_deep_copy_keeps_nothing_and_goes_its_own_way(model: SuperResolver, x: Tensor):
    with torch.no_grad():
        before = model(x)
        twin = copy.deepcopy(model)
        assert _kept(model) > 0
        assert _kept(twin) == 0
        for parameter in twin.parameters():
            parameter.mul_(1.5)
        _agree(twin, x)
        assert torch.equal(model(x), before)


def test_what_is_kept_is_in_no_file(model: SuperResolver, x: Tensor):
    keys = set(model.state_dict())
    with torch.no_grad():
        model(x)
    assert set(model.state_dict()) == keys
    assert keys == {name for name, _ in model.named_parameters()}
    assert _kept(pickle.loads(pickle.dumps(model))) == 0
    whole = io.BytesIO()
    torch.save(model, whole)
    whole.seek(0)
    assert _kept(torch.load(whole, weights_only=False)) == 0


def test_autocast_finds_nothing_of_float32_and_back(model: SuperResolver, x: Tensor):
    with torch.no_grad():
        for on in (True, False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=on):
                torch.testing.assert_close(model(x), _uncached(model, x), rtol=0, atol=1e-7)


def test_autocast_is_part_of_what_a_value_was_computed_from():
    counted = Counted().eval()
    with torch.no_grad():
        for on in (False, True, True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled=on):
                counted()
    assert counted.times == 3


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_graph_keeps_the_value_that_it_reads():
    """Gradients and training empty the cache between replays, and free what it held."""
    counted = Counted().eval()

    def function(x: Tensor) -> Tensor:
        counted()  # for a kernel of which torch's dispatcher does not know
        return x.clone()

    with torch.no_grad():
        captured = capture(function, [torch.ones(3)])
        kept = counted()
    assert counted.times == 1
    counted.train()()
    assert any(each is kept for each in captured._kept_alive)


@pytest.mark.usefixtures("graphs_on_cpu")
def test_what_a_capture_only_seems_to_compute_is_not_kept():
    counted = Counted().eval()

    def function(x: Tensor) -> Tensor:
        counted.cache._kept.clear()  # so that the capture has nothing to find
        return x * counted()

    with torch.no_grad():
        captured = capture(function, [torch.ones(3)])
        assert torch.equal(counted(), torch.full((3,), 2.0))
        nn.init.constant_(counted.weight, 4)
        assert torch.equal(captured.replay(torch.ones(3)), torch.full((3,), 8.0))


@pytest.mark.usefixtures("graphs_on_cpu")
def test_a_replayed_training_step_counts_at_once():
    """A replay runs no Python: neither `train` nor a parameter's version tells the cache of it."""
    counted = Counted().eval()

    def step(x: Tensor) -> Tensor:
        counted.weight.add_(x)
        return x.clone()

    with torch.no_grad():
        captured = capture(step, [torch.ones(3)])
        before = counted().clone()
        captured.replay(torch.ones(3))
        assert torch.equal(counted(), before + 2)


def test_weights_that_were_rounded_and_widened_again_are_noticed(model: SuperResolver, x: Tensor):
    """Both conversions together leave dtype, device and version of a parameter as they were."""
    with torch.inference_mode():
        model(x)
    model.half().float()
    with torch.inference_mode():
        assert torch.equal(model(x), _uncached(model, x))
