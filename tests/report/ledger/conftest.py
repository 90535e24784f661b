"""What the tests of claims share: rulings of a folder, and counts of networks."""

import pytest

from hitsr.records import ComplexityRecord
from hitsr.report.budget import budget_of
from hitsr.report.ledger import rule
from hitsr.specs.zoo import NETWORKS


@pytest.fixture
def ruling():
    """Of one claim of a folder's records, perhaps narrowed to what a small folder can hold."""

    def of(folder, claim_id, **narrowed):
        evidence = folder.evidence()
        claim = next(claim for claim in evidence.claims if claim.id == claim_id)
        return rule(claim.model_copy(update=narrowed), evidence, budget_of(evidence))

    return of


@pytest.fixture
def count_all():
    """Writes counts in K and G of networks at scales into a folder."""

    def write(folder, counts):
        """Write a count in K and G for networks at scales."""
        full = folder.path / "records/complexity"
        template = ComplexityRecord.load(full / "hit_sir-x2.json")
        for (network, scale), (params_k, flops_g) in counts.items():
            template.model_copy(
                update={
                    "network": network,
                    "scale": scale,
                    "params": round(params_k * 1e3),
                    "flops": round(flops_g * 1e9),
                }
            ).save(full / f"{network}-x{scale}.json")

    return write


@pytest.fixture
def six(configured, count_all):
    """All networks at x2, counted as fvcore counts the released code."""
    folder = configured(networks=list(NETWORKS)).everything(
        dict.fromkeys([*NETWORKS, "bicubic"], 30)
    )
    count_all(
        folder,
        {
            ("swinir_light", 2): (910.152, 244.37),
            ("swinir_ng", 2): (1181.448, 247.66),
            ("srformer_light", 2): (853.272, 236.23),
            ("hit_sir", 2): (772.064, 209.89),
            ("hit_sng", 2): (1012.584, 213.87),
            ("hit_srf", 2): (846.944, 226.48),
        },
    )
    return folder
