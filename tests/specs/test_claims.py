from pathlib import Path

import pytest
import yaml

from hitsr.base.errors import DataError
from hitsr.specs.claims import CONVERSIONS, SCALES, TEST_SETS, read_claims
from hitsr.specs.zoo import BASELINE, NETWORKS

CLAIMS = Path(__file__).parents[2] / "reports/claims.yaml"
GAIN = {
    "id": "gain",
    "topic": "Quality",
    "of": "pairs",
    "statement": "Conversions score higher.",
    "source": "Table 2",
    "quantities": {"psnr_db": 0.05},
    "compare": "difference",
    "expect": "printed",
}


@pytest.fixture
def refused(tmp_path):
    """The message that a changed claim is refused with."""

    def read(changes: dict, without: str = "") -> str:
        path = tmp_path / "claims.yaml"
        claim = {name: value for name, value in (GAIN | changes).items() if name != without}
        path.write_text(yaml.safe_dump([claim]))
        with pytest.raises(DataError) as error:
            read_claims(path)
        assert str(path) in str(error.value)
        assert "claim 1" in str(error.value)
        return str(error.value)

    return read


def test_the_papers_claims_are_read_in_order():
    claims = read_claims(CLAIMS)
    assert claims[0].id == "fewer_parameters"
    assert all(claim.source for claim in claims)
    assert {claim.of for claim in claims} == {
        "networks", "pairs", "step", "other_pairs", "training_sets", "best", "successors",
    }  # fmt: skip


def test_what_is_held_against_print_has_a_tolerance_or_is_said_to_have_none():
    """Without any, an SSIM after a training; its released weights are judged."""
    for claim in read_claims(CLAIMS):
        if claim.basis == "records" and claim.expect not in ("above", "below"):
            released = getattr(claim, "released", {})
            assert all(
                limit or quantity in released for quantity, limit in claim.quantities.items()
            )


def test_a_directions_claim_needs_no_tolerance():
    claims = {claim.id: claim for claim in read_claims(CLAIMS)}
    assert claims["fewer_parameters"].quantities == {"params": None}
    assert claims["best_psnr"].misprints[0].method == "GASSL-B"


def test_every_pair_scale_and_set_has_its_gain():
    gains = [claim for claim in read_claims(CLAIMS) if claim.id.startswith("gain_")]
    cells = [(pair, scale) for each in gains for pair in each.conversions for scale in each.scales]
    assert sorted(cells) == sorted((pair, scale) for pair in CONVERSIONS for scale in SCALES)
    assert {each.datasets for each in gains} == {TEST_SETS}


def test_a_gain_says_which_pair_and_scale_it_is_of():
    for claim in read_claims(CLAIMS):
        if claim.id.startswith("gain_"):
            assert claim.id == f"gain_{claim.conversions[0]}_x{claim.scales[0]}"
            assert f"at ×{claim.scales[0]}" in claim.statement


def test_the_papers_conversions_are_in_the_zoo():
    assert set(CONVERSIONS) <= set(BASELINE) <= set(NETWORKS)


def test_an_unknown_subject_is_named_with_the_nearest(refused):
    assert "did you mean 'pairs'?" in refused({"of": "pair"})
    assert "known: " in refused({}, without="of")
    assert "did you mean 'pairs'?" in refused({"of": ["pairs"]})


def test_an_unknown_network_or_set_is_named(refused):
    message = refused({"conversions": ["hit_srr"]})
    assert "(gain)" in message
    assert "did you mean 'hit_srf'?" in message
    assert "did you mean 'Urban100'?" in refused({"datasets": ["Urban10"]})


def test_a_claim_without_source_is_refused(refused):
    assert "field 'source' is missing" in refused({}, without="source")
    assert "source" in refused({"source": ""})


def test_unknown_fields_and_quantities_are_refused(refused):
    assert "did you mean 'quantities'?" in refused({"quantitie": {"psnr_db": 0.1}})
    assert "quantities" in refused({"quantities": {"lpips": 0.1}})
    assert "quantities" in refused({"quantities": {"psnr_db": 0}})
    assert "quantities" in refused({"quantities": {}})
    assert "expect" in refused({"expect": "better"})
    assert "compare" in refused({"compare": "sum"})


def test_what_belongs_to_another_subject_is_refused(refused):
    assert "misprints" in refused({"misprints": []})
    assert "networks" in refused({"networks": ["hit_sir"]})


@pytest.mark.parametrize(
    "changes",
    [
        {"quantities": {"psnr_db": None}},
        {"quantities": {"psnr_db": 0.05, "ssim": None}},
        {"of": "networks", "compare": "value", "quantities": {"params": None}},
        {"of": "networks", "compare": "value", "quantities": {"flops_exponent": None}, "expect": 1},
        {"compare": "ratio", "quantities": {"latency_ms": None}},
        {"compare": "ratio", "quantities": {"latency_ms": None}, "expect": "as_released"},
    ],
)
def test_a_claim_without_the_tolerance_it_needs_is_refused(refused, changes):
    message = refused(changes)
    assert "(gain)" in message
    assert "needs a tolerance for " in message
    assert "write a number above zero" in message


def test_a_tolerance_of_released_weights_is_enough(tmp_path):
    path = tmp_path / "claims.yaml"
    changes = {"of": "networks", "compare": "value", "quantities": {"ssim": None}}
    path.write_text(yaml.safe_dump([GAIN | changes | {"released": {"ssim": 0.1}}]))
    assert len(read_claims(path)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"of": "networks", "expect": "as_released", "compare": "value"}, "is for pairs"),
        ({"of": "networks", "compare": "ratio"}, "is for pairs"),
        ({"of": "networks", "compare": "value", "expect": 1}, "flops_exponent alone"),
        ({"expect": "as_released"}, "latency_ms"),
        ({"compare": "ratio"}, "latency_ms"),
        ({"compare": "ratio", "quantities": {"latency_ms": 1}, "expect": "above"}, "as_released"),
        ({"compare": "value"}, "write percent or difference"),
        ({"expect": 1}, "write printed, above or below"),
        ({"basis": "quotes"}, "write expect: above"),
    ],
)
def test_what_cannot_be_compared_so_is_refused(refused, changes, said):
    message = refused(changes)
    assert "(gain)" in message
    assert said in message


def test_errors_are_in_plain_words(refused):
    message = refused({"expect": "better"})
    assert "expect: must be printed, above, below, as_released or a number" in message
    assert "literal" not in message
    assert message.count("\n") == 0


def test_two_claims_of_one_id_are_refused(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([GAIN, GAIN]))
    with pytest.raises(DataError, match="'gain' occurs twice"):
        read_claims(path)


@pytest.mark.parametrize("text", ["{}", "[]", "- 3", "- [", ""])
def test_what_is_no_list_of_claims_is_refused(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"claims\.yaml"):
        read_claims(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file; restore it"):
        read_claims(tmp_path / "claims.yaml")
