import io

import pandas as pd

from hitsr.report import render
from hitsr.report.budget import budget_of
from hitsr.report.ledger import rulings
from hitsr.report.sections.claims import claims_csv, claims_section, claims_table


def section(folder):
    evidence = folder.evidence()
    return claims_section(evidence, budget_of(evidence))


def test_every_claim_stands_once_and_in_order(full):
    entries = [entry for topic in section(full).parts["topics"] for entry in topic.entries]
    assert [entry.id for entry in entries] == [claim.id for claim in full.evidence().claims]
    titles = [topic.title for topic in section(full).parts["topics"]]
    assert len(titles) == len(set(titles))


def test_a_verdict_is_said_in_words_and_counted(full):
    parts = section(full).parts
    entries = [entry for topic in parts["topics"] for entry in topic.entries]
    counts = {each.words: each.claims for each in parts["tally"] + parts["in_print"]}
    assert sum(counts.values()) == len(entries)
    for words, claims in counts.items():
        assert claims == sum(entry.words.lower() == words for entry in entries)


def test_the_ledger_comes_first_and_links_to_evidence(full, reports):
    out = full.path / "report"
    render(full.config, full.path, reports, out)
    html = (out / "index.html").read_text()
    assert html.index('<section id="claims">') < html.index('<section id="efficiency">')
    assert html.count('<li id="claim-') == len(full.evidence().claims)
    assert '<a href="#efficiency">evidence' in html
    assert '<a href="#quality">evidence' in html


def test_a_claim_of_one_number_has_no_fold_out(full):
    entries = [entry for topic in section(full).parts["topics"] for entry in topic.entries]
    parts = {entry.id: len(entry.parts) for entry in entries}
    assert parts["beyond_the_paper"] == 0
    assert parts["printed_psnr_higher"] == 45


def test_the_table_has_a_row_per_claim(full):
    evidence = full.evidence()
    rows = claims_table(rulings(evidence, budget_of(evidence))).groups[0].rows
    assert len(rows) == len(evidence.claims)


def test_the_csv_has_a_row_per_number_and_no_infinity(full):
    evidence = full.evidence()
    found = rulings(evidence, budget_of(evidence))
    text = claims_csv(found)
    frame = pd.read_csv(io.StringIO(text))
    assert len(frame) == sum(len(each.parts) for each in found)
    assert "inf" not in text.replace("infinite", "")
    flops = frame[(frame.claim == "flops_printed") & (frame.part == "HiT-SIR ×2")].iloc[0]
    assert (flops.band_low, flops.band_high) == (209.8, 210.0)
    assert (flops.paper, flops.here, flops.verdict) == (209.9, 209.89, "reproduced")


def test_no_claims_make_an_empty_ledger(full):
    evidence = full.evidence()
    bare = type(evidence)(evidence.config, evidence.results, evidence.published)
    found = claims_section(bare, budget_of(bare))
    assert found.heading == "What the paper claims"
    assert found.parts["topics"] == []
