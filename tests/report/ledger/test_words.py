from hitsr.report.budget import budget_of
from hitsr.report.ledger import rulings
from hitsr.report.ledger.words import heading, ledger_sentence


def test_a_run_without_records_decides_nothing(folder):
    evidence = folder.evidence()
    found = rulings(evidence, budget_of(evidence))
    measured = [each for each in found if each.claim.basis == "records"]
    assert {each.verdict for each in measured} == {"not_testable"}
    assert not any(part.here for each in found for part in each.parts)


def test_the_ledgers_sentence_counts_verdicts(six):
    evidence = six.evidence()
    found = rulings(evidence, budget_of(evidence))
    counts = [each.verdict for each in found if each.claim.basis == "records"]
    open_ones = counts.count("not_testable")
    assert ledger_sentence(found).startswith(f"Of {len(counts)} claims of the paper")
    assert f"{open_ones} are not testable here" in ledger_sentence(found)
    assert f"{open_ones} not testable here" in heading(found)
    assert heading([]) == "What the paper claims"
    assert ledger_sentence([]) == ""
