"""Ablation files: checked whole before anything runs, and resolved to shared values."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hitsr.base.errors import SpecError
from hitsr.specs.ablation import Ablation, ablation_rows, pick, read_ablations
from hitsr.specs.config import Config, load_config, runs
from hitsr.specs.network import NetworkSpec
from hitsr.specs.recipe import Recipe
from hitsr.specs.zoo import NETWORKS, find

ROOT = Path(__file__).parents[2]
RECIPE = {"steps": 100, "batch": 4, "patch": 24, "learning_rate": 2e-3}


def config(seeds: list[int] | None = None, **train: Any) -> Config:
    data = {"root": "data", "source": "folder", "train": "A", "validation": "B", "test": ["B"]}
    return Config.parse(
        {
            "name": "mine",
            "title": "Mine",
            "data": data,
            "train": {"scales": [3, 2], "seeds": seeds or [1], "recipe": RECIPE, **train},
            "efficiency": {"latency": {"scales": [4]}},
        },
        "mine.yaml",
    )


def ablation(base: str | list[str] = "hit_sir", **variants: dict[str, Any]) -> Ablation:
    return Ablation.parse(
        {"question": "?", "base": base, "variants": {"as_is": {}, **variants}, "expect": "."},
        "ablations/a.yaml",
    )


def by(recipe: str, **variants: dict[str, Any]) -> Ablation:
    """An ablation whose variants are all trained by a named recipe."""
    return ablation(**variants).model_copy(update={"recipe": recipe})


def rows(made: Ablation, made_for: Config | None = None):
    return {row.variant: row for row in ablation_rows("a", made, made_for or config())}


def test_base_is_the_config_s_own_run_at_its_smallest_scale() -> None:
    row = rows(ablation(fixed={"windows.ratios": [1] * 6}))["as_is"]
    assert row.runs == (runs(config())["hit_sir-x2-s1"],)
    assert row.network.network == NETWORKS["hit_sir"]


def test_variant_differs_from_its_base_in_the_patch_and_the_name() -> None:
    found = rows(ablation(fixed={"windows.ratios": [1] * 6}), config([1, 2]))
    fixed, base = found["fixed"], found["as_is"]
    assert [run.name for run in fixed.runs] == [
        f"hit_sir.ratios_1_1_1_1_1_1-x2-s{seed}" for seed in (1, 2)
    ]
    for run, before in zip(fixed.runs, base.runs, strict=True):
        changed = before.network.patch({"windows.ratios": [1] * 6})
        changed = changed.model_copy(update={"name": "hit_sir.ratios_1_1_1_1_1_1"})
        assert run == before.model_copy(update={"network": changed})


def test_variant_that_is_another_network_of_the_config_shares_its_run() -> None:
    row = rows(ablation(conv={"ffn.kind": "conv"}))["conv"]
    assert [run.name for run in row.runs] == ["hit_srf-x2-s1"]
    assert row.network.name == "hit_srf-x2"


def test_equal_variants_of_two_files_are_one_run() -> None:
    one = rows(ablation(a={"windows.ratios": [1, 1, 1, 1, 1, 1]}))["a"]
    other = rows(ablation(b={"windows.ratios": (1.0,) * 6}))["b"]
    assert one.runs == other.runs
    assert one.network == other.network


def test_recipe_and_data_are_patched_too_and_leave_the_measured_network_alone() -> None:
    found = rows(ablation(slow={"recipe.learning_rate": 2e-4}, more={"data": "DF2K"}))
    assert found["slow"].runs[0].name == "hit_sir.learning_rate_0.0002-x2-s1"
    assert found["slow"].runs[0].recipe.learning_rate == 2e-4
    assert found["more"].runs[0].data == "DF2K"
    assert found["slow"].network == found["more"].network == found["as_is"].network


def test_a_recipe_is_taken_by_its_name_within_the_steps_and_patches_of_the_config() -> None:
    found = rows(ablation(theirs={"recipe": "swinir_ng", "recipe.ema": 0.9}))
    (run,) = found["theirs"].runs
    assert run.name == "hit_sir.recipe_swinir_ng.ema_0.9-x2-s1"
    assert run.recipe == Recipe(
        **RECIPE, betas=(0.9, 0.999), warm_up=4, milestones=(40, 60, 80, 85, 90, 95), ema=0.9
    ).model_copy(update={"learning_rate": 4e-4})
    assert found["as_is"].runs[0].recipe == Recipe(**RECIPE)


def test_all_variants_may_be_trained_by_one_named_recipe() -> None:
    found = rows(
        by("hit_sr", slow={"recipe.learning_rate": 2e-4}, own={"recipe": "srformer_light"})
    )
    names = {variant: row.runs[0].name for variant, row in found.items()}
    assert names == {
        "as_is": "hit_sir.recipe_hit_sr-x2-s1",
        "slow": "hit_sir.recipe_hit_sr.learning_rate_0.0002-x2-s1",
        "own": "hit_sir.recipe_srformer_light-x2-s1",
    }
    assert found["slow"].runs[0].recipe == found["own"].runs[0].recipe


def test_a_config_s_run_is_shared_where_it_is_trained_by_that_recipe_already() -> None:
    made, given = by("hit_sr", own={"recipe": "swinir_light"}), {"from": "own", "steps": 100}
    found = rows(made, config(recipe=given, scales=[2]))
    assert found["as_is"].runs == (runs(config(recipe=given, scales=[2]))["hit_sir-x2-s1"],)
    assert found["own"].runs[0].name == "hit_sir.recipe_swinir_light-x2-s1"


def test_every_base_has_its_own_rows() -> None:
    made = ablation(["hit_sir", "hit_srf"], fixed={"windows.ratios": [1] * 6})
    found = ablation_rows("a", made, config())
    assert [(row.base, row.variant) for row in found] == [
        ("hit_sir", "as_is"), ("hit_sir", "fixed"), ("hit_srf", "as_is"), ("hit_srf", "fixed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("patch", "answer"),
    [
        ({"windows.ratios": [0.5, 1, 2, 4, 6, 8]}, "changes nothing in hit_sir"),
        ({"recipe.learning_rate": 2e-3}, "changes nothing in hit_sir"),
        ({"windows.shfit": True}, "did you mean 'windows.shift'?"),
        ({"recipe.learning_rat": 1}, "did you mean 'learning_rate'?"),
        ({"recipe": "hit_rs"}, "no recipe 'hit_rs' in configs/recipes; did you mean 'hit_sr'?"),
        ({"recipe": {"steps": 3}}, "recipe: must be the name of a recipe"),
        ({"mixer.heads": 7}, "heads"),
        ({"windows.ratios": [0.3, 1, 2, 4, 6, 8]}, "gives no whole window side"),
    ],
)
def test_impossible_variant_is_told_with_file_key_and_rule(
    patch: dict[str, Any], answer: str
) -> None:
    with pytest.raises(SpecError) as caught:
        rows(ablation(bad=patch))
    assert "ablations/a.yaml: variants.bad" in str(caught.value)
    assert answer in str(caught.value)


def test_one_variant_is_the_base_itself() -> None:
    with pytest.raises(SpecError, match=r"exactly one must be \{\}, the base itself"):
        Ablation.parse(
            {"question": "?", "base": "hit_sir", "expect": ".",
             "variants": {"a": {"width": 48}, "b": {"width": 30}}},
            "a.yaml",
        )  # fmt: skip


def test_unknown_ablation_is_told_with_the_nearest(tmp_path: Path) -> None:
    made = ablation(fixed={"windows.ratios": [1] * 6})
    (tmp_path / "window_schedule.yaml").write_text(yaml.safe_dump(made.model_dump(mode="json")))
    with pytest.raises(SpecError, match="did you mean 'window_schedule'"):
        pick(["window_shedule"], read_ablations(tmp_path), "config.yaml")


def test_hidden_files_are_no_ablations(tmp_path: Path):
    for name in ("._softmax.yaml", ".softmax.yml"):
        (tmp_path / name).write_bytes(b"\0\x05\x16\x07")
    assert read_ablations(tmp_path) == {}


def test_a_file_that_would_not_be_read_is_named(tmp_path: Path):
    (tmp_path / "wide.yml").write_text("question: Why?")
    with pytest.raises(SpecError, match=r"wide\.yml: ablations are named \*\.yaml; rename it"):
        read_ablations(tmp_path)


FILES = read_ablations(ROOT / "ablations")


@pytest.mark.parametrize("name", sorted(FILES))
def test_shipped_ablation_fits_the_paper_s_protocol(name: str) -> None:
    paper = load_config(ROOT / "configs" / "paper.yaml")
    for row in ablation_rows(name, FILES[name], paper):
        assert isinstance(row.network.network, NetworkSpec)
        assert row.base in FILES[name].base
        assert find(row.base)


@pytest.mark.parametrize("name", sorted(FILES))
def test_shipped_ablation_says_what_it_asks_and_expects(name: str) -> None:
    made = FILES[name]
    assert made.question.endswith("?")
    assert made.expect.endswith(".")
    assert all(remark.source for remark in made.published)


def test_a_variant_is_not_given_a_name() -> None:
    with pytest.raises(SpecError, match=r"a\.yaml: variants\.b\.name: is made of what changes"):
        ablation(b={"name": "foo"})


def test_an_unknown_base_is_told_with_its_file() -> None:
    with pytest.raises(SpecError, match=r"a\.yaml: base: no network 'hit'; did you mean"):
        ablation("hit", b={"norm": "before"})
