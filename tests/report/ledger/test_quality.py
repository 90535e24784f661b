import pytest

from hitsr.report.budget import budget_of
from hitsr.report.gather import gather
from hitsr.report.ledger import rule
from hitsr.report.ledger.quality import hindrance
from hitsr.report.ledger.words import here_words, paper_words, why
from hitsr.report.measures import Evidence
from hitsr.specs.config import runs

PAPERS = {
    "train__recipe__steps": 500_000,
    "train__recipe__batch": 64,
    "train__patch": {},
    "train__seeds": [1, 2, 3],
    "data__train": "DIV2K",
    "data__test": ["Set5"],
}
# Set5 at x2: what the table prints.
SWINIR_DB, HIT_SIR_DB = 38.14, 38.22


def score_seeds(folder, gains_db):
    """Scores of three seeds on Set5: the baseline's as printed, the conversion's by gains above."""
    for name, run in runs(folder.config).items():
        converted = run.network.name == "hit_sir"
        gain_db = gains_db[run.seed - 1] if converted else 0
        folder.quality(name, "Set5", SWINIR_DB + gain_db, run)


def narrowed(**others):
    return {"conversions": ("hit_sir",), "scales": (2,), "datasets": ("Set5",), **others}


def test_a_demos_gain_is_shown_and_not_judged(full, ruling):
    found = ruling(full, "gain_hit_sir_x2")
    own = [part for part in found.parts if "“test”" in part.name]
    assert [part.here.value for part in own] == pytest.approx([0.5, 0.0])
    assert found.verdict == "not_testable"
    assert "100 of 500\u202f000 iterations" in why(found)
    assert "not among this run’s test sets" in why(found).lower()


@pytest.mark.parametrize(
    ("gains_db", "verdict"),
    [
        ([0.08, 0.08, 0.08], "reproduced"),  # as printed
        ([0.06, 0.10, 0.09], "reproduced"),
        ([-0.15, 0.1, 0.24], "within"),  # the interval is wider than the band
        ([0.2, 0.2, 0.2], "not_reproduced"),
        ([0.0, 0.0, 0.0], "not_reproduced"),  # 0.08 below, and no gain at all
    ],
)
def test_three_seeds_of_the_papers_budget_are_judged(configured, gains_db, verdict, ruling):
    folder = configured(**PAPERS)
    score_seeds(folder, gains_db)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert found.verdict == verdict


def test_released_weights_are_the_papers_own_and_are_judged(configured, ruling):
    weights = {"root": "weights", "scales": [2]}
    folder = configured(train=None, weights=weights, data__test=["Set5"])
    for network, psnr_db in (("swinir_light", SWINIR_DB), ("hit_sir", SWINIR_DB + 0.08)):
        run = runs(configured().config)[f"{network}-x2-s1"]
        folder.quality(f"{network}-x2", "Set5", psnr_db, run)
        path = folder.path / f"records/quality/{network}-x2.Set5.json"
        path.write_text(path.read_text().replace(run.name, f"{network}-x2"))
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert found.verdict == "reproduced"


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_fewer_than_three_seeds_are_not_judged(configured, seeds, ruling):
    folder = configured(**PAPERS | {"train__seeds": seeds})
    score_seeds(folder, [0.08] * 3)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert found.verdict == "not_testable"
    assert f"{len(seeds)} seed" in why(found)


def test_a_set_of_ones_own_is_not_judged_even_within_the_papers_budget(configured, ruling):
    folder = configured(**PAPERS | {"data__test": ["Set5", "mine"]})
    score_seeds(folder, [0.08] * 3)
    for name, run in runs(folder.config).items():
        folder.quality(name, "mine", 30.0, run)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert [part.verdict for part in found.parts] == ["reproduced", "not_testable"]


def test_an_infinite_difference_is_not_judged(configured, ruling):
    folder = configured(**PAPERS)
    for name, run in runs(folder.config).items():
        folder.quality(name, "Set5", None if run.network.name == "hit_sir" else 38.0, run)
    found = ruling(folder, "gain_hit_sir_x2", **narrowed(tolerances={"psnr": 0.05}))
    assert found.verdict == "not_testable"
    assert "No finite mean" in why(found)
    assert here_words(found) == "+∞\u202fdB"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train__recipe__batch": 32}, "batch 32 instead of 64"),
        ({"train__patch": {"depths": [6]}}, "networks reduced in size"),
        ({"data__train": "mine"}, "trained on “mine”"),
        ({}, ""),
    ],
)
def test_each_difference_from_the_papers_budget_is_named(configured, change, words):
    found = hindrance(budget_of(configured(**PAPERS | change).evidence()))
    assert words in found
    assert bool(found) == bool(words)


def test_a_general_strategy_needs_every_pair(full, ruling):
    found = ruling(full, "general_strategy")
    assert len([part for part in found.parts if part.paper is not None]) == 45
    assert found.verdict == "not_testable"


def test_another_networks_conversion_is_found_by_its_name(full, ruling):
    assert "no pair from outside" in why(ruling(full, "beyond_the_paper"))
    for run in runs(full.config).values():
        name = run.network.name.replace("swinir_light", "swinir_m").replace(
            "hit_sir", "hit_swinir_m"
        )
        other = run.model_copy(update={"network": run.network.model_copy(update={"name": name})})
        full.quality(other.name, "test", 31.0 if name == "hit_swinir_m" else 30.0, other)
    evidence = Evidence(full.config, gather(full.path), full.evidence().published)
    claim = next(each for each in full.evidence().claims if each.id == "beyond_the_paper")
    found = rule(claim, evidence, budget_of(evidence))
    assert [part.here.value for part in found.parts] == pytest.approx([1.0])


def test_nothing_here_was_trained_on_the_larger_set(full, ruling):
    found = ruling(full, "more_training_data")
    assert paper_words(found) == "15 of 15 cells"
    assert why(found) == "Nothing here was trained on DF2K."


def test_runs_on_two_sets_are_paired_whatever_they_are_called(full):
    run = runs(full.config)["hit_sir-x2-s1"]
    network = run.network.model_copy(update={"name": "hit_sir.data_more"})
    larger = run.model_copy(update={"network": network, "data": "more"})
    full.training(larger)
    full.quality(larger.name, "test", 31.25, larger)
    config, results, published = full.config, gather(full.path), full.evidence().published
    evidence = Evidence(config, results, published, claims=full.evidence().claims)
    claim = next(each for each in evidence.claims if each.id == "more_training_data")
    asked = {"network": "hit_sir", "smaller": "train", "larger": "more", "scales": (2,)}
    claim = claim.model_copy(update=asked | {"datasets": ("test",)})
    found = rule(claim, evidence, budget_of(evidence))
    assert found.parts[0].here.value == pytest.approx(0.25)
