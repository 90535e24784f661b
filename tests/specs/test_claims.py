from pathlib import Path

import pytest
import yaml

from hitsr.base.errors import DataError
from hitsr.specs.claims import CONVERSIONS, SCALES, TEST_SETS, read_claims
from hitsr.specs.zoo import BASELINE, NETWORKS

CLAIMS = Path(__file__).parents[2] / "reports/claims.yaml"
GAIN = {
    "id": "gain",
    "kind": "gain",
    "statement": "Conversions score higher.",
    "source": "Table 2",
    "tolerances": {"psnr": 0.05},
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


def test_an_unknown_kind_is_named_with_the_nearest(refused):
    assert "did you mean 'gain'?" in refused({"kind": "gains"})
    assert "known: " in refused({}, without="kind")


def test_an_unknown_network_or_set_is_named(refused):
    message = refused({"conversions": ["hit_srr"]})
    assert "(gain)" in message
    assert "did you mean 'hit_srf'?" in message
    assert "did you mean 'Urban100'?" in refused({"datasets": ["Urban10"]})


def test_a_claim_without_source_is_refused(refused):
    assert "field 'source' is missing" in refused({}, without="source")
    assert "source" in refused({"source": ""})


def test_unknown_fields_and_metrics_are_refused(refused):
    assert "did you mean 'tolerances'?" in refused({"tolerance": 0.1})
    assert "tolerances" in refused({"tolerances": {"lpips": 0.1}})
    assert "tolerances" in refused({"tolerances": {"psnr": 0}})


def test_two_claims_of_one_id_are_refused(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([GAIN, GAIN]))
    with pytest.raises(DataError, match="'gain' stands there twice"):
        read_claims(path)


@pytest.mark.parametrize("text", ["{}", "- 3", "- [", ""])
def test_what_is_no_list_of_claims_is_refused(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"claims\.yaml"):
        read_claims(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file; restore it"):
        read_claims(tmp_path / "claims.yaml")
