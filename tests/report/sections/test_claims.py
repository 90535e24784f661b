import io
from dataclasses import replace

import pandas as pd
import pytest

from hitsr.report.ledger import rulings
from hitsr.report.ledger_words import tally
from hitsr.report.sections.claims import claims_csv, claims_section, claims_table


@pytest.fixture(scope="module")
def section(evidence):
    return claims_section(evidence)


@pytest.fixture(scope="module")
def entries(section):
    """Of the ledger, then of the list of what cannot be tested here."""
    ledger = [entry for topic in section.parts["topics"] for entry in topic.entries]
    return ledger, section.parts["untested"]


def test_every_claim_stands_once_in_the_ledger_or_among_the_untested(evidence, section, entries):
    ledger, untested = entries
    names = [entry.id for entry in (*ledger, *untested)]
    assert sorted(names) == sorted(claim.id for claim in evidence.claims)
    order = [claim.id for claim in evidence.claims]
    for part in entries:
        assert [entry.id for entry in part] == sorted((e.id for e in part), key=order.index)
    titles = [topic.title for topic in section.parts["topics"]]
    assert len(titles) == len(set(titles))


def test_the_ledger_holds_what_was_tested_and_the_list_what_cannot_be(entries):
    ledger, untested = entries
    assert "not_testable" not in {entry.verdict for entry in ledger}
    assert {entry.verdict for entry in untested} == {"not_testable"}
    assert {"fewer_parameters", "printed_psnr_higher"} <= {entry.id for entry in ledger}
    assert {"psnr_printed", "more_training_data"} <= {entry.id for entry in untested}


def test_a_verdict_is_said_in_words_and_counted(evidence, section, entries):
    found = rulings(evidence)
    for part, basis in (("tally", "records"), ("in_print", "quotes")):
        counts = {each.verdict: each.claims for each in section.parts[part]}
        assert counts == tally(found, basis)
    words = {each.words for each in section.parts["tally"] + section.parts["in_print"]}
    assert words == {entry.words.lower() for part in entries for entry in part}


def test_a_claim_of_one_number_has_no_fold_out(entries):
    ledger, untested = entries
    numbers = {entry.id: len(entry.numbers) for entry in (*ledger, *untested)}
    assert numbers["beyond_the_paper"] == 0
    assert numbers["printed_psnr_higher"] == 45
    left = {entry.id: entry.left for entry in (*ledger, *untested)}
    assert left["parameters_printed"] == "16 more numbers not run"


def test_the_table_has_a_row_per_claim(evidence):
    rows = claims_table(rulings(evidence)).groups[0].rows
    assert len(rows) == len(evidence.claims)


def test_the_csv_has_a_row_per_number_and_no_infinity(evidence):
    found = rulings(evidence)
    text = claims_csv(found)
    frame = pd.read_csv(io.StringIO(text))
    assert len(frame) == sum(len(each.numbers) for each in found)
    assert "inf" not in text.replace("infinite", "")
    flops = frame[(frame.claim == "flops_printed") & (frame.part == "HiT-SIR ×2")].iloc[0]
    assert (flops.band_low, flops.band_high) == (209.8, 210.0)
    assert (flops.paper, flops.here, flops.verdict) == (209.9, 209.89, "reproduced")


def test_no_claims_make_an_empty_ledger(evidence):
    found = claims_section(replace(evidence, claims=()))
    assert found.heading == "What the paper claims"
    assert found.parts["topics"] == []
    assert found.parts["untested"] == []
