"""Named recipes: what their files hold, and what configs make of them."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hitsr.base.errors import SpecError
from hitsr.base.shipped import SHIPPED
from hitsr.cli import app
from hitsr.plan.planning import make_plan
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import Config, load_config, recipe_words, runs
from hitsr.specs.recipe import Recipe
from hitsr.specs.recipes import FOLDER, NamedRecipe, find_recipe, gates_of, named_recipes, scaled
from hitsr.specs.run import RunSpec, StartWeights
from hitsr.specs.zoo import NETWORKS

PAPER = SHIPPED / "configs" / "paper.yaml"
GATED = "hit_srf-x2-s1226"
RECIPE = {"steps": 100, "batch": 4, "patch": 24, "learning_rate": 2e-3}


def _config(recipe: Any, **train: Any) -> Config:
    """paper.yaml with another recipe and other fields of `train`."""
    data = load_config(PAPER).model_dump(mode="json") | {"lam": None}
    data["train"] |= {"recipe": recipe, **train}
    return Config.parse(data, "mine.yaml")


def _run(recipe: Any, name: str = GATED, **train: Any) -> RunSpec:
    return runs(_config(recipe, **train))[name]


def test_every_network_has_one_recipe_of_its_own():
    owners = [network for recipe in named_recipes().values() for network in recipe.networks]
    assert sorted(owners) == sorted(NETWORKS)


def test_every_recipe_says_where_it_is_from():
    for recipe in named_recipes().values():
        assert all("commit " in said or "for betas" in said for said in recipe.source)


def test_a_name_becomes_the_value_it_stands_for():
    whole = {
        "steps": 500_000, "batch": 64, "parts": 4, "patch": 64, "learning_rate": 5e-4,
        "milestones": [250_000, 400_000, 450_000, 475_000], "log_every": 200,
        "validate_every": 5000,
    }  # fmt: skip
    by_name, by_value = _config("hit_sr"), _config(whole, start_from={3: 2, 4: 2})
    assert runs(by_name) == runs(by_value)
    jobs = [make_plan(config, {}).jobs for config in (by_name, by_value)]
    assert [job.hash for job in jobs[0]] == [job.hash for job in jobs[1]]


def test_every_network_can_be_trained_by_its_own():
    found = runs(_config("own"))
    x3 = {network: found[f"{network}-x3-s1226"] for network in NETWORKS}
    assert {name: run.recipe.learning_rate for name, run in x3.items()} == {
        "swinir_light": 1e-4, "swinir_ng": 4e-4, "srformer_light": 2e-4,
        "hit_sir": 5e-4, "hit_sng": 5e-4, "hit_srf": 5e-4,
    }  # fmt: skip
    assert [name for name, run in x3.items() if run.start_from is None] == ["srformer_light"]
    assert [name for name, run in x3.items() if run.recipe.ema] == ["swinir_light"]
    assert x3["swinir_light"].recipe.steps == 250_000
    assert x3["swinir_ng"].recipe.upsampler_only == 50_000


def test_another_number_of_steps_scales_the_schedule_and_drops_the_gates():
    recipe = _run({"from": "swinir_ng", "steps": 10_000}, "swinir_ng-x3-s1226").recipe
    assert recipe.steps == 10_000
    assert recipe.milestones == (5000, 7000, 9000, 9500)
    assert (recipe.warm_up, recipe.upsampler_only) == (400, 1000)
    assert (recipe.learning_rate, recipe.validate_every) == (4e-4, 5000)
    assert gates_of(_run("hit_sr"))
    assert not gates_of(_run({"from": "hit_sr", "steps": 499_999}))


def test_scales_keep_their_share_of_the_steps():
    found = runs(_config({"from": "own", "steps": 10_000}))
    assert found["swinir_light-x2-s1226"].recipe.steps == 10_000
    assert found["swinir_light-x4-s1226"].recipe.steps == 5000
    assert found["swinir_light-x4-s1226"].recipe.milestones == (2500, 4000, 4500, 4750)
    assert found["hit_sir-x4-s1226"].recipe.steps == 10_000


def test_what_is_changed_is_not_scaled():
    changes = {"from": "hit_sr", "steps": 100, "milestones": [10, 20], "parts": 1, "batch": 3}
    recipe = _run(changes).recipe
    assert (recipe.steps, recipe.milestones, recipe.batch) == (100, (10, 20), 3)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 333, 499_999, 10**9])
@pytest.mark.parametrize("name", ["hit_sr", "swinir_light", "srformer_light", "swinir_ng"])
def test_every_number_of_steps_makes_a_valid_recipe(name: str, steps: int):
    for scale in (2, 3, 4):
        recipe = named_recipes()[name].at(scale, steps)  # type: ignore[arg-type]
        assert Recipe.parse(recipe.model_dump(), name) == recipe


def test_scaling_back_and_forth_changes_nothing():
    for named in named_recipes().values():
        assert scaled(scaled(named.at(3), 10_000_000), named.at(3).steps) == named.at(3)


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (
            "hit_rs",
            r"paper: train\.recipe: no recipe 'hit_rs' in configs/recipes; did you mean 'hit_sr'\?",
        ),
        ("zzz", "known: hit_sr, own, srformer_light, swinir_light, swinir_ng"),
        ({"from": "hit_sr", "step": 10}, r"paper: train\.recipe: no field 'step'; did you mean"),
        ({"from": "hit_sr", "steps": "many"}, r"train\.recipe: steps: must be a whole number"),
        ({"from": "hit_sr", "steps": 0}, r"train\.recipe: steps: must be at least 1"),
        ({"from": "hit_sr", "batch": 2}, "parts: a batch of 2 cannot be parted into 4 equal"),
        ({"from": 3}, r"mine\.yaml: train\.recipe\.name: must be text"),
        (3, r"train\.recipe: must be the name of a recipe, `own`, or fields"),
        (None, r"train\.recipe: must be the name of a recipe, `own`, or fields"),
        ({"steps": 3}, r"field 'train\.recipe\.batch' is missing"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(recipe: Any, told: str):
    with pytest.raises(SpecError, match=told):
        runs(_config(recipe))


def test_a_start_that_is_not_trained_is_refused_and_may_be_overruled(tmp_path: Path):
    with pytest.raises(SpecError, match="hit_sr starts x3 from x2, which is not trained; add 2 to"):
        runs(_config("hit_sr", scales=[3]))
    assert _run("hit_sr", "hit_sir-x3-s1226", start_from={3: None}).start_from is None
    assert _run("hit_sr", "hit_sir-x4-s1226", start_from={4: 3}).start_from == _run(
        "hit_sr", "hit_sir-x3-s1226"
    )
    for network in NETWORKS:
        (tmp_path / network).write_bytes(b"weights")
    begun = _run("hit_sr", "hit_sir-x2-s1226", start_from={2: f"{tmp_path}/{{network}}"})
    assert isinstance(begun.start_from, StartWeights)


@pytest.mark.parametrize(
    ("name", "train"),
    [
        ("hit_sir-x2-s1226", {}),
        ("hit_srf-x3-s1226", {}),
        (GATED, {"changes": {"depths": [6]}}),
        (GATED, {"recipe": {"from": "hit_sr", "learning_rate": 4e-4}}),
        (GATED, {"recipe": {"from": "hit_sr", "ema": 0.999}}),
        (GATED, {"recipe": "swinir_light"}),
    ],
)
def test_a_gate_is_of_its_network_scale_and_recipe(name: str, train: dict[str, Any]):
    assert not gates_of(_run(**{"recipe": "hit_sr", "name": name} | train))


def test_the_gates_are_in_the_job_of_the_run_that_they_fit_and_not_in_its_hash():
    jobs = {job.name: job for job in make_plan(_config("hit_sr"), {}).jobs if job.kind == "train"}
    assert [name for name, job in jobs.items() if job.gates] == [GATED]
    said = [(gate.step, gate.psnr_db) for gate in jobs[GATED].gates]
    assert said == [(50_000, 38.11), (100_000, 38.14), (200_000, 38.23)]
    without = jobs[GATED].model_copy(update={"gates": ()})
    assert without.hash == jobs[GATED].hash
    on_another_set = jobs[GATED].run.model_copy(update={"validation": "Set14"})
    assert not gates_of(on_another_set)
    rounded = {"parts": 8, "precision": "tf32", "deterministic": False}
    rounded |= {"validate_every": 33_000}  # training tells which gates its validations pass over
    assert gates_of(_run({"from": "hit_sr", **rounded})) == jobs[GATED].gates


@pytest.mark.parametrize("networks", [list(NETWORKS), []])
def test_training_pictures_are_as_large_as_the_patches_that_are_cut(networks: list[str]):
    data = _config({"from": "own", "patch": 32}).model_dump() | {"networks": networks}
    config = Config.parse(data | {"ablations": ["recipe"]}, "mine.yaml")
    jobs = make_plan(config, {"recipe": read_ablations(SHIPPED / "ablations")["recipe"]}).jobs
    prepared = {job.dataset: job.patch for job in jobs if job.kind == "prepare"}
    assert {name for name, patch in prepared.items() if patch} == {"DIV2K"}
    assert prepared["DIV2K"] == 32


def test_recipes_are_found_from_anywhere_and_ones_of_the_users_own_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    theirs = named_recipes()
    assert "hit_sr" in theirs
    (tmp_path / FOLDER).mkdir(parents=True)
    shutil.copy(SHIPPED / FOLDER / "hit_sr.yaml", tmp_path / FOLDER / "mine.yaml")
    assert named_recipes() == {**theirs, "mine": theirs["hit_sr"]}
    with pytest.raises(
        SpecError, match="recipes, hit_sr, mine all say that they are hit_sir's own"
    ):
        runs(_config("own", scales=[2]))
    text = (tmp_path / FOLDER / "mine.yaml").read_text()
    (tmp_path / FOLDER / "mine.yaml").write_text(text.replace("parts: 4", "parts: 3"))
    with pytest.raises(SpecError, match=r"mine\.yaml: recipe: parts: a batch of 64 cannot be"):
        named_recipes()


def test_no_recipe_is_called_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir(parents=True)
    shutil.copy(SHIPPED / FOLDER / "hit_sr.yaml", tmp_path / FOLDER / "own.yaml")
    with pytest.raises(SpecError, match="a recipe called own, which stands for each network's"):
        named_recipes()


def test_what_became_of_a_recipe_is_told():
    assert recipe_words(_config(RECIPE)) == []
    first, *_ = recipe_words(_config("hit_sr", scales=[2, 3]))
    assert first == f"x2 of {', '.join(NETWORKS)}: recipe hit_sr, unchanged"
    told = recipe_words(_config({"from": "own", "steps": 1000, "ema": None}, scales=[2, 3]))
    assert len(told) == 8
    assert told[0] == (
        "x2 of swinir_light: recipe swinir_light, steps 1000 instead of 500000, milestones [500, "
        "800, 900, 950] instead of [250000, 400000, 450000, 475000], ema null instead of 0.999"
    )
    (gated,) = [line for line in told if "gates" in line]
    assert gated.startswith("x2 of hit_sir, hit_sng, hit_srf: recipe hit_sr, steps 1000 instead")
    assert gated.endswith("; without its gates at 50000, 100000, 200000")


def test_gates_that_are_left_out_for_another_reason_are_told_too():
    (told,) = recipe_words(_config("hit_sr", scales=[2], changes={"depths": [6]}))
    assert told.endswith(
        "recipe hit_sr, unchanged; without its gates at 50000, 100000, 200000, which are of "
        "published networks, and of validations on Set5 at these steps"
    )


def test_resolve_tells_it_beside_the_names():
    shown = CliRunner().invoke(app, ["resolve", str(PAPER)])
    assert "x4 of swinir_light, swinir_ng" in shown.stderr
    assert "recipe" not in shown.stdout.splitlines()[0]
    whole = CliRunner().invoke(app, ["resolve", str(PAPER), GATED])
    assert RunSpec.model_validate_json(whole.stdout).recipe == named_recipes()["hit_sr"].at(2)


def test_a_network_without_a_recipe_of_its_own_is_told():
    with pytest.raises(
        SpecError, match="own: of the recipes in configs/recipes, none is swinir_m's"
    ):
        find_recipe("own", "swinir_m", "here")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scales": {3: {"step": 1}}}, r"scales\.3: no field 'step'"),
        ({"networks": ["hit"]}, "no network 'hit'"),
        ({"start_from": {2: 3}}, "x2 cannot start from x3"),
        ({"scales": {3: {"learning_rate": -1}}}, r"scales\.3: learning_rate: must be greater"),
    ],
)
def test_a_file_that_is_not_valid_is_told(changes: dict[str, Any], told: str):
    data = copy.deepcopy(named_recipes()["hit_sr"].model_dump())
    with pytest.raises(SpecError, match=told):
        NamedRecipe.parse(data | changes, "mine.yaml")


def test_a_gate_beyond_the_last_step_is_told():
    data = copy.deepcopy(named_recipes()["hit_sr"].model_dump())
    data["gates"][0]["step"] = 500_001
    with pytest.raises(SpecError, match="gates: step 500001 is beyond the last one"):
        NamedRecipe.parse(data, "mine.yaml")


@pytest.mark.parametrize("recipe", ["hit_sr", "own", {"from": "own", "steps": 100}])
def test_a_config_says_again_what_it_was_told(recipe: Any):
    data = _config(recipe).model_dump(mode="json")
    assert data["train"]["recipe"] == recipe
    assert Config.parse(data, "again") == _config(recipe)


def test_an_average_that_is_too_slow_for_the_steps_is_told():
    short = {"from": "swinir_light", "steps": 600}
    words, *_ = recipe_words(_config(short))
    assert "after 600 steps its average still holds 55% of the initial weights" in words
    for change in ({"steps": 10_000}, {"ema": 0.9}, {"ema": None}):
        words, *_ = recipe_words(_config(short | change))
        assert "initial weights" not in words
