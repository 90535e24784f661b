import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hitsr
from hitsr.base.errors import SpecError
from hitsr.models.backbone import SuperResolver
from hitsr.runtime.compiling import check_compiler
from hitsr.specs.network import Formulation

SIZES = [(1, 1), (1, 7), (5, 3), (8, 8), (9, 31), (17, 40)]
REDUCED: dict[str, Any] = {"depths": [6], "windows.base": 4}


def _reduced(name: str, scale: int = 2, formulation: Formulation = "fused") -> SuperResolver:
    torch.manual_seed(0)
    network = hitsr.NETWORKS[name].patch(REDUCED)
    return hitsr.create(network, scale, formulation=formulation).eval()


def _picture(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height))


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_any_size_becomes_twice_its_size(name: str):
    torch.manual_seed(0)
    model = hitsr.create(name, 2).eval()
    for height, width in SIZES:
        with torch.inference_mode():
            sr = model(_picture(height, width))
        assert sr.shape == (1, 3, 2 * height, 2 * width)
        assert sr.isfinite().all()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_output_is_exactly_scale_times_the_input(name: str, scale: int):
    model = _reduced(name, scale)
    with torch.inference_mode():
        for height, width in SIZES:
            sr = model(_picture(height, width, batch=2))
            assert sr.shape == (2, 3, scale * height, scale * width)


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_formulations_agree_at_any_size(name: str):
    paper, *others = (_reduced(name, formulation=way) for way in ("paper", "released", "fused"))
    for parameter in paper.parameters():
        nn.init.normal_(parameter, std=0.05)  # no bias or norm at its neutral start
    for other in others:
        other.load_state_dict(paper.state_dict())
    with torch.inference_mode():
        pictures = [_picture(*size) for size in [*SIZES, (64, 64)]]  # the training patch, too
        for lr in [*pictures, _picture(9, 31, batch=2)]:
            expected = paper(lr)
            for other in others:
                difference = (expected - other(lr)).abs().max()
                assert difference < 1e-5, (other.formulation, lr.shape)


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_a_batch_is_its_pictures_one_by_one(name: str):
    model = _reduced(name)
    with torch.inference_mode():
        for height, width in [(5, 3), (9, 31)]:
            batch = _picture(height, width, batch=3)
            alone = torch.cat([model(picture[None]) for picture in batch])
            assert (model(batch) - alone).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["swinir_light", "swinir_ng", "srformer_light"])
def test_a_baseline_pads_its_picture_as_numpy_reflects(name: str):
    model = _reduced(name)
    multiple = model.network.windows.base
    with torch.inference_mode():
        for height, width in SIZES:
            lr = _picture(height, width)
            extra = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
            padded = torch.from_numpy(np.pad(lr.numpy(), extra, mode="reflect"))
            expected = model(padded)[..., : 2 * height, : 2 * width]
            assert (model(lr) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["hit_sir", "hit_sng", "hit_srf"])
def test_a_conversion_does_not_pad_its_picture(name: str):
    """Feeding a padded picture is another function: norms and FFN see no extension."""
    model = _reduced(name)
    lr = _picture(9, 31)
    padded = torch.from_numpy(np.pad(lr.numpy(), [(0, 0), (0, 0), (0, 55), (0, 33)], "reflect"))
    with torch.inference_mode():
        assert (model(lr) - model(padded)[..., :18, :62]).abs().max() > 1e-4


def test_output_is_not_clamped():
    model = _reduced("swinir_light")
    nn.init.constant_(model.upsample[0].bias, 5)
    assert model(_picture(8, 8)).min() > 1


def test_a_network_knows_nothing_of_its_mean_but_the_sum():
    """What leaves the mean out before puts it back after: a blank network answers the mean."""
    model = _reduced("hit_sir")
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    expected = torch.tensor(model.network.mean).view(1, 3, 1, 1).expand(1, 3, 6, 4)
    assert torch.equal(model(_picture(3, 2)), expected)
    assert "mean" not in model.state_dict()


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_initial_weights_are_the_published_ones(name: str):
    torch.manual_seed(0)
    model = hitsr.create(hitsr.NETWORKS[name].patch({"depths": [6]}), 2)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    tables = [p for key, p in model.named_parameters() if key.endswith("bias_table")]
    drawn = torch.cat([t.detach().flatten() for t in [*(m.weight for m in linear), *tables]])
    assert drawn.std() == pytest.approx(0.02, rel=0.02)
    assert all((m.bias == 0).all() for m in linear)
    for norm in (m for m in model.modules() if isinstance(m, nn.LayerNorm)):
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
    for convolution in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        weight = convolution.weight.detach()
        bound = weight[0].numel() ** -0.5
        if weight.numel() > 500:  # PyTorch's: uniform within one over the root of the fan-in
            assert weight.abs().max() == pytest.approx(bound, rel=0.05)
            assert weight.std() == pytest.approx(bound * 3**-0.5, rel=0.1)


@pytest.mark.parametrize("name", ["swinir_ng", "hit_sng"])
@pytest.mark.parametrize("way", ["released", "fused"])
def test_one_seed_gives_one_network_in_all_formulations(name: str, way: Formulation):
    paper, other = (_reduced(name, formulation=each).state_dict() for each in ("paper", way))
    assert list(paper) == list(other)
    assert all(torch.equal(paper[key], other[key]) for key in paper)


def test_stochastic_depth_rises_linearly_to_its_rate():
    rates = []
    for name in ("swinir_light", "hit_sir"):
        model = hitsr.create(hitsr.NETWORKS[name].patch({"width": 12}), 2)
        rates.append([block.drop_rate for group in model.groups for block in group.blocks])
    assert rates[0] == pytest.approx(np.linspace(0, 0.1, 24).tolist())
    assert rates[1] == [0] * 24


def test_gradients_reach_every_parameter():
    for name in hitsr.NETWORKS:
        model = _reduced(name)
        model(_picture(8, 8, batch=2)).square().mean().backward()
        idle = [key for key, p in model.named_parameters() if p.grad is None or (p.grad == 0).all()]
        assert not idle, f"{name}: {idle}"


@pytest.mark.parametrize("scale", [0, 1, 5, 2.5, "2"])
def test_another_scale_is_an_error(scale: Any):
    with pytest.raises(SpecError, match=r"scale.*2, 3 or 4"):
        hitsr.create("hit_sir", scale)


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(SpecError, match=r"'swinir_lite'; did you mean 'swinir_light'\?"):
        hitsr.create("swinir_lite", 2)


def test_an_unknown_formulation_is_an_error():
    formulation: Any = "fusd"
    with pytest.raises(SpecError, match=r"'fusd': must be 'released' or 'paper' or 'fused'"):
        hitsr.create("hit_sir", 2, formulation=formulation)


@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_autocast_computes_in_bfloat16_and_gives_float32(name: str):
    network = hitsr.NETWORKS[name].patch(REDUCED)
    exact, rounded = (hitsr.create(network, 2, autocast=on).eval() for on in (False, True))
    rounded.load_state_dict(exact.state_dict())
    seen = []
    rounded.last.register_forward_hook(lambda _module, _given, out: seen.append(out.dtype))
    with torch.inference_mode():
        expected, found = exact(_picture(17, 40)), rounded(_picture(17, 40))
    assert seen == [torch.bfloat16]
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.05


def test_autocast_learns():
    model = hitsr.create(hitsr.NETWORKS["hit_sir"].patch(REDUCED), 2, autocast=True)
    model(_picture(16, 16)).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(g is not None and g.dtype == torch.float32 for g in gradients)


def test_a_compiled_network_gives_the_same():
    try:
        check_compiler()
    except SpecError as error:
        pytest.skip(str(error))
    network = hitsr.NETWORKS["hit_sir"].patch({"depths": [1], "windows.ratios": [1]})
    plain, compiled = (hitsr.create(network, 2, compile=on).eval() for on in (False, True))
    compiled.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        for _ in range(2):  # what is cached is found again
            difference = compiled(_picture(8, 16)) - plain(_picture(8, 16))
            assert difference.abs().max() < 1e-4
    assert type(compiled.state_dict()) is type(plain.state_dict())
    assert list(compiled.state_dict()) == list(plain.state_dict())


def test_no_compiler_is_told_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "none")
    with pytest.raises(SpecError, match="CXX is 'none'"):
        hitsr.create("hit_sir", 2, compile=True)


def test_a_network_that_was_in_16_bit_has_its_exact_mean_again():
    model = hitsr.create("hit_sir", 2)
    exact = model.mean.clone()
    assert torch.equal(model.half().mean, exact.half())
    assert torch.equal(model.float().mean, exact)


def _graphed(name: str, formulation: Formulation = "fused") -> SuperResolver:
    """A network with CUDA graphs; under autocast a CPU computes as other devices do, in one go."""
    torch.manual_seed(0)
    network = hitsr.NETWORKS[name].patch(REDUCED)
    return hitsr.create(network, 2, formulation=formulation, autocast=True, graph=True).eval()


def _agrees_with_plain(model: SuperResolver, lr: Tensor) -> None:
    """Replays give what a network gives that has these weights, and no graphs and caches."""
    network, scale, formulation = model.network, model.scale, model.formulation
    plain = hitsr.create(network, scale, formulation=formulation, autocast=True).eval()
    plain.load_state_dict(model.state_dict())
    plain.to(next(model.parameters()).dtype)
    with torch.inference_mode():
        for _ in range(3):
            assert torch.equal(model(lr), plain(lr))


@pytest.mark.parametrize("formulation", ["paper", "fused"])
@pytest.mark.parametrize("name", hitsr.NETWORKS)
def test_a_network_replayed_as_a_graph_gives_the_same(name: str, formulation, graphs_on_cpu):
    model = _graphed(name, formulation)
    for size in [(5, 3), (17, 40)]:
        _agrees_with_plain(model, _picture(*size, batch=2))
    assert graphs_on_cpu.captures == 2


@pytest.mark.parametrize("name", ["swinir_light", "hit_sir"])
def test_weights_changed_after_a_capture_count_at_once(name: str, graphs_on_cpu):
    model, lr = _graphed(name), _picture(9, 31)
    _agrees_with_plain(model, lr)
    tables = [p for key, p in model.named_parameters() if "bias_table" in key or "position" in key]
    nn.init.normal_(tables[0])  # what is cached depends on it
    _agrees_with_plain(model, lr)
    model.load_state_dict({key: value * 1.5 for key, value in model.state_dict().items()})
    _agrees_with_plain(model, lr)
    model.train()
    with pytest.warns(RuntimeWarning, match="training mode"):
        model(lr).square().mean().backward()
    torch.optim.Adam(model.parameters(), lr=0.1, fused=True).step()
    model.eval()
    _agrees_with_plain(model, lr)
    assert graphs_on_cpu.captures == 4


@pytest.mark.usefixtures("graphs_on_cpu")
def test_gradients_between_replays_leave_the_graph_what_it_reads():
    """Such a forward empties the caches that the graph was captured with."""
    model, lr = _graphed("swinir_light"), _picture(9, 31)
    _agrees_with_plain(model, lr)
    with pytest.warns(RuntimeWarning, match="gradients are wanted"):
        model(lr.requires_grad_()).sum().backward()
    assert lr.grad is not None
    _agrees_with_plain(model, lr.detach())


def test_a_network_with_graphs_is_copied_pickled_saved_and_moved_as_another(graphs_on_cpu):
    model, lr = _graphed("hit_sir"), _picture(9, 31)
    _agrees_with_plain(model, lr)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        nn.init.normal_(other.last.weight)
        _agrees_with_plain(other, lr)
    _agrees_with_plain(model, lr)
    assert list(model.state_dict()) == list(_reduced("hit_sir").state_dict())
    model.double()
    assert not model.graphs._kept
    _agrees_with_plain(model, lr.double())
    assert graphs_on_cpu.captures == 4


def test_without_cuda_a_network_with_graphs_says_that_it_runs_plainly():
    model = hitsr.create(hitsr.NETWORKS["hit_sir"].patch(REDUCED), 2, graph=True).eval()
    with torch.inference_mode(), pytest.warns(RuntimeWarning, match="device is cpu; CUDA") as said:
        assert model(_picture(8, 8)).shape == model(_picture(8, 8)).shape == (1, 3, 16, 16)
    assert [warning.filename for warning in said] == [__file__]


def test_graph_and_compile_together_are_an_error():
    with pytest.raises(SpecError, match=r"compile and graph.*choose one"):
        hitsr.create("hit_sir", 2, compile=True, graph=True)


def test_no_graph_holds_the_released_formulation():
    with pytest.raises(SpecError, match=r"no CUDA graph holds .*released.*use 'paper' or 'fused'"):
        hitsr.create("hit_sir", 2, formulation="released", graph=True)
