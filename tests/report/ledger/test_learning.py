import pytest

from hitsr.base.errors import RecordError
from hitsr.specs.config import runs


def test_the_lead_in_training_is_a_mean_over_validated_steps(full, ruling):
    found = ruling(full, "better_convergence", conversions=("hit_sir",), scales=(2,))
    assert found.parts[0].here.value == pytest.approx(0.5)
    assert found.note == "Ahead at 4 of 4 validated steps."
    assert found.verdict == "not_testable"  # the budget is not the paper's


def test_diffusion_indices_are_compared_window_by_window(full, ruling):
    full.lam(runs(full.config)["swinir_light-x2-s1"], "test", 9.0, 9.0)
    full.lam(runs(full.config)["hit_sir-x2-s1"], "test", 21.0, 21.0)
    found = ruling(full, "larger_attribution", conversions=("hit_sir",), scales=(2,))
    assert found.parts[0].here.value == pytest.approx(12.0)
    assert found.note == "Higher in 2 of 2 windows."


def test_maps_of_other_windows_do_not_compare(full, ruling):
    full.lam(runs(full.config)["swinir_light-x2-s1"], "test", 9.0, 9.0)
    full.lam(runs(full.config)["hit_sir-x2-s1"], "test", 21.0, 21.0)
    path = full.path / "lam/hit_sir-x2-s1.test/record.json"
    path.write_text(path.read_text().replace('"brick"', '"stone"'))
    with pytest.raises(RecordError, match="not mapped in the same windows"):
        ruling(full, "larger_attribution")
