import copy
from pathlib import Path
from typing import Any

import pytest

from hitsr.base.errors import SpecError
from hitsr.base.files import sha256
from hitsr.specs.config import Config, load_config, runs, scaled_networks
from hitsr.specs.recipe import Recipe
from hitsr.specs.run import RunSpec, StartWeights
from hitsr.specs.zoo import NETWORKS

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPE: dict[str, Any] = {"steps": 100, "batch": 4, "patch": 24, "learning_rate": 2e-3}
PLAIN: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "networks": ["swinir_light", "hit_sir"],
    "data": {
        "root": "data",
        "source": "folder",
        "train": "A",
        "validation": "B",
        "test": ["B", "C"],
    },
    "train": {"scales": [2, 3, 4], "seeds": [1, 2], "recipe": RECIPE},
    "efficiency": {"latency": {"scales": [4]}},
}


def _config(**changes: Any) -> Config:
    """PLAIN with changes, dots in their paths written as two underscores."""
    data = copy.deepcopy(PLAIN)
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        here = data
        for parent in parents:
            here = here[parent]
        here[leaf] = value
    return Config.parse(data, "mine.yaml")


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configs_that_ship_are_whole(file: Path):
    config = load_config(file)
    assert config.name == file.stem
    assert set(config.networks) == set(NETWORKS)
    trained = len(config.train.scales) * len(config.train.seeds) if config.train else 0
    assert len(runs(config)) == 6 * trained


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"ttile": "a"}, "no field 'ttile'; did you mean 'title'?"),
        (
            {"train__recipe": {**RECIPE, "learning_rat": 1}},
            "no field 'train.recipe.learning_rat'; did you mean 'train.recipe.learning_rate'?",
        ),
        ({"networks": ["hit_sri"]}, "networks: no 'hit_sri'; did you mean 'hit_sr"),
        ({"train__scales": [2, 5]}, "train.scales.1: must be 2, 3 or 4"),
        ({"data__source": "folders"}, "data.source: "),
        ({"data__test": []}, "data.test: "),
        ({"name": "My config"}, "name: "),
        ({"train__recipe": {**RECIPE, "steps": 0}}, "train.recipe.steps: "),
        ({"train__recipe": {**RECIPE, "learning_rate": float("inf")}}, "recipe.learning_rate: "),
        ({"train__recipe": {**RECIPE, "decay": 1}}, "train.recipe.decay: "),
        ({"train__start_from": {3: 2}, "train__scales": [2, 4]}, "x3 is not trained"),
        (
            {"lam": {"sets": ["C"], "scales": [2, 4]}, "train__scales": [2]},
            "nothing is scored at x4",
        ),
        ({"own": {"mine": {"source": "mine.py"}}}, "own.mine.source: must be file.py:function"),
        ({"own": {"RealSR-V3": {"source": "a.py:b"}}}, "own.RealSR-V3: a name has lower"),
        ({"data__test": ["../Set5"]}, "data.test.0: must be a folder within data.root"),
        ({"data__root": "a\0b"}, "data.root: must not hold a zero byte"),
        ({"name": "nul.v2"}, "name: no file can have this name on Windows"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], answer: str):
    with pytest.raises(SpecError) as caught:
        _config(**changes)
    assert str(caught.value).startswith("mine.yaml: ")
    assert answer in str(caught.value)


RECIPE_RULES: list[tuple[str, list[Any], list[Any]]] = [
    ("steps", [1, 10**9], [0, -1, True, "100", 1e3, 10**23, None, []]),
    ("batch", [1, 2**16], [0, -1, True, "2", 2.0, 10**23]),
    ("patch", [1, 256], [0, -1, False, "24", 10**23]),
    ("learning_rate", [1e-9, 1, 0.5], [0, -1e-3, 2, 10**23, True, "1e-3", None]),
    (
        "betas",
        [[0, 0], [0.9, 0.999]],
        [[0.9, 1], [-0.1, 0.9], [0.9], [0.9, 0.9, 0.9], 0.9, ["0", 0]],
    ),
    ("milestones", [[]], [[True], ["1"], [1.0], [0], 50, [10**23], [float("nan")]]),
    ("decay", [0.1], [0, 1, -1, True, "0.5", float("nan")]),
    ("log_every", [1, 1000], [0, True, "1", 0.5]),
    ("validate_every", [1, 1000], [0, True, "1", 0.5]),
    ("precision", ["tf32", "bfloat16"], ["half", "autocast", 32, True, None]),
    ("deterministic", [False], [1, 0, "true", "no", None]),
]


@pytest.mark.parametrize(("field", "allowed", "refused"), RECIPE_RULES)
def test_a_recipe_has_the_type_and_range_of_every_field(
    field: str, allowed: list[Any], refused: list[Any]
):
    for value in allowed:
        Recipe.parse({**RECIPE, field: value}, "")
    for value in refused:
        with pytest.raises(SpecError, match=rf"^mine\.yaml: {field}[.:]"):
            Recipe.parse({**RECIPE, field: value}, "mine.yaml")


CONFIG_RULES: list[tuple[str, list[Any], list[Any]]] = [
    ("networks", [["hit_sir"]], [["hit_sir", "hit_sir"], "hit_sir", [True], None]),
    ("data.test", [["B"]], [[], ["B", "B"], "B", [1], [None]]),
    ("train.scales", [[2], [4, 2]], [[], [2, 2], [1], ["2"], [True], 2, [10**23]]),
    ("train.seeds", [[0], [2**63 - 1]], [[], [1, 1], [-1], [2**63], [True], ["1"], [1.0]]),
    ("train.threads", [1, 1024], [0, 1025, True, "1", 10**23]),
    ("train.compile", [True], [1, "yes", None]),
    ("train.start_from", [{}, {3: 2}], [{3: "2"}, {"3": 2}, {True: 2}, [], None]),
    ("train.changes", [{}], [{3: 1}, [], None]),
    ("efficiency.scales", [[4]], [[], [2, 2], [5]]),
    ("efficiency.output_size", [[4, 4]], [[0, 720], [3, 3], [1280], [1, 2, 3], ["4", 4], [1e3, 4]]),
    ("efficiency.latency.scales", [[2, 3]], [[], [2, 2]]),
    ("efficiency.latency.formulations", [["paper"]], [[], ["fused", "fused"], "fused", ["x"]]),
    ("efficiency.latency.warmup", [0], [-1, True, "1"]),
    ("efficiency.latency.warmup_seconds", [0.0, 2, 3600], [-1.0, True, "1", 1e9]),
    ("efficiency.latency.samples", [1], [0, True, 10**23]),
    ("efficiency.latency.batches", [[], [4]], [[0], [4, 4], [True], [10**23]]),
    ("efficiency.latency.precisions", [[]], [["tf32", "tf32"], ["int8"]]),
    ("efficiency.latency.launches", [["graph"]], [["eager", "eager"], ["lazy"]]),
    ("efficiency.latency.taken_apart", [True], [1, "yes", None]),
    ("lam.sets", [["C"]], [[], ["C", "C"]]),
    ("lam.scales", [[2]], [[], [2, 2]]),
    ("lam.crop", [0, 18, 64], [-1, 1, 17, True, "64", 10**23]),
    ("scaling.over", [["window"]], [[], ["window", "window"]]),
    ("scaling.samples", [0], [-1, True]),
    ("ablations", [[]], [["a", "a"], "a"]),
    ("weights.scales", [], [[], [2, 2]]),
    ("own.mine.scales", [[3]], [[], [2, 2]]),
]


@pytest.mark.parametrize(("path", "allowed", "refused"), CONFIG_RULES)
def test_a_config_has_the_type_and_range_of_every_field(
    path: str, allowed: list[Any], refused: list[Any]
):
    parts = {
        "lam": {"sets": ["C"], "scales": [2]},
        "scaling": {"over": ["window"]},
        "own": {"mine": {"source": "a.py:build"}},
        **({"weights": {"root": "w"}, "train": None} if path.startswith("weights") else {}),
    }
    for value in allowed:
        _config(**parts, **{path.replace(".", "__"): value})
    for value in refused:
        place = path.replace(".", r"(\.|: )")
        with pytest.raises(SpecError, match=rf"^mine\.yaml: {place}[.:]"):
            _config(**parts, **{path.replace(".", "__"): value})


@pytest.mark.parametrize("milestones", [[], [1], [50, 80, 99]])
def test_milestones_rise_to_before_the_last_step(milestones: list[int]):
    assert Recipe.parse({**RECIPE, "milestones": milestones}, "").milestones == tuple(milestones)


@pytest.mark.parametrize("milestones", [[50, 50], [80, 50], [100], [50, 120], [0, 50]])
def test_other_milestones_are_refused(milestones: list[int]):
    with pytest.raises(SpecError, match="milestones"):
        Recipe.parse({**RECIPE, "milestones": milestones}, "mine.yaml")


@pytest.mark.parametrize("start", [{3: 2}, {3: 2, 4: 2}, {3: 2, 4: 3}, {}])
def test_runs_start_from_a_smaller_scale_of_their_seed(start: dict[int, int]):
    made = runs(_config(train__start_from=start))
    assert len(made) == 2 * 3 * 2
    for run in made.values():
        if run.scale not in start:
            assert run.start_from is None
            continue
        origin = made[f"{run.network.name}-x{start[run.scale]}-s{run.seed}"]
        assert run.start_from == origin
        assert (origin.network, origin.seed) == (run.network, run.seed)


@pytest.mark.parametrize("start", [{2: 2}, {2: 3}, {3: 4}, {4: 4}])
def test_no_run_starts_from_an_equal_or_larger_scale(start: dict[int, int]):
    with pytest.raises(SpecError, match="start_from"):
        _config(train__start_from=start)


def test_no_run_starts_from_a_scale_that_is_not_trained():
    with pytest.raises(SpecError, match=r"x4 cannot start from x2"):
        _config(train__start_from={4: 2}, train__scales=[3, 4])


def _files(folder: Path) -> dict[str, Path]:
    files = {name: folder / f"{name}_x2.pth" for name in PLAIN["networks"]}
    for name, file in files.items():
        file.write_text(f"weights of {name}")
    return files


def test_runs_start_from_files_by_their_content(tmp_path: Path):
    files = _files(tmp_path)
    pattern = f"{tmp_path}/{{network}}_x2.pth"
    start = {2: pattern, 3: pattern, 4: 2}
    made = runs(_config(train__start_from=start))
    for name, file in files.items():
        begun = StartWeights(name=file.name, sha256=sha256(file))
        assert made[f"{name}-x2-s1"].start_from == made[f"{name}-x3-s2"].start_from == begun
        assert made[f"{name}-x4-s1"].start_from == made[f"{name}-x2-s1"]
    run = made["hit_sir-x3-s2"]
    assert RunSpec.model_validate_json(run.to_json()) == run

    files["hit_sir"].write_text("other weights")
    again = runs(_config(train__start_from=start))
    differing = {name for name, run in again.items() if run.hash != made[name].hash}
    assert differing == {name for name in made if name.startswith("hit_sir")}


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ({2: "gone/{network}.pth"}, r"train\.start_from: gone/swinir_light\.pth: no such file"),
        ({2: "one.pth"}, r"2 networks cannot start x2 from one file, one\.pth; write {network}"),
        (
            {2: 2.5},
            r"start_from\.2: must be a trained scale, such as 2, a file of weights, or null",
        ),
        ({3: [2]}, "must be a trained scale, such as 2, a file"),
    ],
)
def test_starts_that_cannot_be_are_refused(start: dict[int, Any], told: str):
    with pytest.raises(SpecError, match=told):
        runs(_config(train__start_from=start))


def test_a_start_at_a_scale_that_is_not_trained_is_refused(tmp_path: Path):
    _files(tmp_path)
    with pytest.raises(SpecError, match="x4 is not trained"):
        _config(train__start_from={4: f"{tmp_path}/{{network}}_x2.pth"}, train__scales=[2])


def test_runs_do_not_depend_on_the_order_of_scales():
    rising = runs(_config(train__start_from={3: 2, 4: 3}))
    falling = runs(_config(train__start_from={4: 3, 3: 2}, train__scales=[4, 3, 2]))
    assert rising == falling


def test_equal_configs_give_equal_runs():
    first, second = runs(_config()), runs(_config())
    assert first == second
    assert [run.hash for run in first.values()] == [run.hash for run in second.values()]
    assert len({run.hash for run in first.values()}) == len(first)
    assert list(first)[:2] == ["swinir_light-x2-s1", "swinir_light-x2-s2"]


def test_names_and_titles_are_not_part_of_a_run():
    named = runs(_config(name="other", title="Other", data__test=["C"]))
    assert named == runs(_config())


def test_the_recipe_is_part_of_a_run():
    for changes in ({"learning_rate": 1e-3}, {"steps": 101}, {"betas": [0.9, 0.999]}):
        changed = runs(_config(train__recipe={**RECIPE, **changes}))
        for name, run in runs(_config()).items():
            assert changed[name].hash != run.hash


def test_a_start_is_part_of_a_run():
    assert (
        runs(_config(train__start_from={4: 2}))["hit_sir-x4-s1"].hash
        != runs(_config())["hit_sir-x4-s1"].hash
    )


def test_a_run_survives_json():
    run = runs(_config(train__start_from={3: 2, 4: 3}))["hit_sir-x4-s2"]
    again = RunSpec.model_validate_json(run.to_json())
    assert again == run
    assert again.hash == run.hash


def test_a_patch_reaches_every_trained_network_and_none_that_is_measured():
    config = _config(train__changes={"depths": [6], "windows.base": 4})
    assert {run.network.depths for run in runs(config).values()} == {(6,)}
    measured = scaled_networks(config, (2, 4))
    assert list(measured) == ["swinir_light-x2", "swinir_light-x4", "hit_sir-x2", "hit_sir-x4"]
    assert measured["hit_sir-x2"].network == NETWORKS["hit_sir"]


@pytest.mark.parametrize(
    ("patch", "answer"),
    [
        ({"windows.shfit": 1}, "did you mean 'windows.shift'?"),
        ({"width": 60}, "changes nothing in swinir_light"),
        ({"mixer.position_width": 4}, "no field 'mixer.position_width'"),
    ],
)
def test_a_patch_that_fits_not_every_network_is_refused(patch: dict[str, Any], answer: str):
    with pytest.raises(SpecError) as caught:
        runs(_config(train__changes=patch))
    assert "train.changes: " in str(caught.value)
    assert answer in str(caught.value)


def test_sets_are_listed_once():
    config = _config(lam={"sets": ["D", "B"], "scales": [2]})
    assert config.data.sets == ("A", "B", "C")
    assert config.sets == ("A", "B", "C", "D")


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"train__scales": []}, r"mine\.yaml: train\.scales"),
        ({"train": None}, "nothing to score: add `train`, `weights` or `own`"),
        ({"networks": []}, "networks: names none; name some, or leave it out for all six"),
        ({"weights": {"root": "weights"}}, "train, weights: a config can have only one"),
        ({"data__validation": None}, r"train: needs data\.train and data\.validation"),
        ({"train": None, "weights": {"root": "w"}, "ablations": ["a"]}, "ablations: need `train`"),
        (
            {"own": {"hit_sir": {"source": "a.py:build"}}},
            r"own\.hit_sir: this name is used by hitsr",
        ),
        ({"own": {"Mine": {"source": "a.py:build"}}}, "own.Mine"),
    ],
)
def test_a_config_that_scores_nothing_or_contradicts_itself_is_refused(
    changes: dict[str, Any], answer: str
):
    with pytest.raises(SpecError, match=answer):
        _config(**changes)


def test_changes_that_do_not_fit_are_told_with_the_file(tmp_path: Path):
    demo = (CONFIGS / "demo.yaml").read_text()
    (tmp_path / "a.yaml").write_text(demo.replace("width: 24", "width: '24'"))
    told = r"a\.yaml: demo: train\.changes: width: must be a whole number \(got '24'\)"
    with pytest.raises(SpecError, match=told):
        load_config(tmp_path / "a.yaml")


def test_a_missing_config_is_named(tmp_path: Path):
    with pytest.raises(SpecError, match=r"none\.yaml: no such file"):
        load_config(tmp_path / "none.yaml")


def test_what_changes_weights_makes_another_run_and_how_steps_are_launched_does_not():
    plain = runs(_config())["hit_sir-x2-s1"]
    for launch in ({"train__compile": True}, {"train__graph": True}, {"train__graph": False}):
        assert runs(_config(**launch))["hit_sir-x2-s1"] == plain
    others = [{"precision": "tf32"}, {"precision": "bfloat16"}, {"deterministic": False}]
    made = [runs(_config(train__recipe=RECIPE | each))["hit_sir-x2-s1"] for each in others]
    assert len({each.hash for each in (plain, *made)}) == 4


def test_a_step_is_launched_in_one_way():
    assert _config(train__compile=True).train.graph == "auto"
    told = "train: compile, graph: a step is launched in one of these ways"
    with pytest.raises(SpecError, match=told):
        _config(train__compile=True, train__graph=True)
    with pytest.raises(SpecError, match=r"train\.graph: must be auto, true or false"):
        _config(train__graph="yes")


def test_a_number_of_gpus_that_cannot_be_is_refused_in_one_line():
    for gpus in (0, -1, True, 2.0, "all"):
        with pytest.raises(SpecError, match=r"train\.gpus: must be auto or a number") as caught:
            _config(train__gpus=gpus)
        assert len(str(caught.value).splitlines()) == 1


def test_the_old_name_of_bfloat16_is_told():
    for old in (True, False):
        with pytest.raises(SpecError, match="autocast: was replaced by `precision`; write"):
            _config(train__recipe={**RECIPE, "autocast": old})


def test_a_patch_gives_no_network_another_name():
    with pytest.raises(SpecError, match=r"train\.changes\.name: every network has its own"):
        _config(train__changes={"name": "x"})
