from hitsr.report.budget import budget_of
from hitsr.report.ledger import rulings
from hitsr.report.ledger.words import paper_words, why


def test_printed_rows_decide_what_needs_no_measurement(folder):
    found = {
        each.claim.id: each for each in rulings(folder.evidence(), budget_of(folder.evidence()))
    }
    assert paper_words(found["printed_psnr_higher"]) == "44 of 45 cells"
    assert "HiT-SNG, Set14 ×4 (0.00\u202fdB)" in why(found["printed_psnr_higher"])
    assert paper_words(found["printed_ssim_higher"]) == "43 of 45 cells"
    assert found["best_psnr"].verdict == found["best_ssim"].verdict == "reproduced"
    assert "36.16 is printed" in why(found["best_psnr"])
    assert found["still_best"].verdict == "not_reproduced"
    assert "PFT-light" in why(found["still_best"])


def test_a_misprint_counts_unless_it_is_left_out(folder, ruling):
    assert ruling(folder, "best_psnr", misprints=()).verdict == "not_reproduced"


def test_larger_networks_and_other_training_sets_are_left_out(folder, ruling):
    found = ruling(folder, "still_best", max_params_k=700)
    assert "ESC" in why(found)
    assert "PFT" not in why(found)
    assert ruling(folder, "still_best", training_set="nothing").parts == ()
