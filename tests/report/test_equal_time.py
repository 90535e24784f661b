"""Leads of conversions by device time."""

import pytest

from hitsr.report.names import FAMILIES
from hitsr.report.sections.convergence import lead_remarks
from hitsr.specs.config import runs

SIR = next(family for family in FAMILIES if family.conversion == "hit_sir")


def trained(folder, seconds_a_step):
    """PSNR 29.5, 30, 30.5, 31 at steps 25 to 100, at so many device-seconds a step."""
    for run in runs(folder.config).values():
        folder.training(run)
        pace = seconds_a_step[run.network.name]
        folder.relog(
            run,
            lambda line, pace=pace: line.model_copy(
                update={"device_seconds": pace and line.step * pace}
            ),
        )
    return folder.evidence()


def test_leads_are_taken_where_the_shorter_training_ends(folder):
    evidence = trained(folder, {"swinir_light": 2.0, "hit_sir": 1.0})
    before, after = (
        evidence.curve("validation_psnr_db", network, 2).mean for network in SIR.networks
    )
    # After 100 seconds the baseline is at step 50, its second validation of four.
    assert evidence.leads_at_equal_time(SIR, 2) == pytest.approx([after[3] - before[1]])
    (words,) = lead_remarks(evidence, 2)
    assert words.startswith("HiT-SIR beside SwinIR-Light: +0.50 dB at the last common step, ")
    assert words.endswith(f"+{after[3] - before[1]:.2f} dB at equal device time.")


def test_between_validations_psnr_is_interpolated(folder):
    evidence = trained(folder, {"swinir_light": 1.6, "hit_sir": 1.0})
    curve = evidence.curve("validation_psnr_db", "swinir_light", 2).mean
    after = evidence.curve("validation_psnr_db", "hit_sir", 2).mean[3]
    at_62_5 = (curve[1] + curve[2]) / 2
    assert evidence.leads_at_equal_time(SIR, 2) == pytest.approx([after - at_62_5])


def test_seeds_give_the_lead_an_interval(configured):
    evidence = trained(configured(train__seeds=[1, 2]), {"swinir_light": 1.0, "hit_sir": 1.0})
    words = lead_remarks(evidence, 2)
    assert "\u00a0±\u00a0" in words[0]
    assert words[1] == "± is the 95 % interval over seeds."


def test_older_logs_have_no_lead_by_device_time(folder):
    evidence = trained(folder, {"swinir_light": None, "hit_sir": 1.0})
    assert evidence.leads_at_equal_time(SIR, 2) == []
    assert lead_remarks(evidence, 2) == []
