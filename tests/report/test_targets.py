import pytest

from hitsr.report.targets import (
    hours_digits,
    target_finding,
    target_table,
    targets,
    unlike_pairs,
)
from hitsr.specs.config import runs


def trained(folder, gains, devices=None):
    """Both networks trained, their validation PSNR raised: 29.5, 30, 30.5, 31 at step 25 to 100.

    On so many devices; None: by a version that did not log them.
    """
    for run in runs(folder.config).values():
        folder.training(run, gain=gains[run.network.name])
        count = (devices or {}).get(run.network.name, 1)
        if count != 1:
            folder.relog(
                run,
                lambda line, count=count: line.model_copy(
                    update={"device_seconds": count and count * line.seconds}
                ),
            )
    return folder.evidence()


def test_a_target_is_reached_in_steps_seconds_and_device_hours(folder):
    (target,) = targets(trained(folder, {"swinir_light": 0.1, "hit_sir": 0.6}), 2)
    assert target.psnr_db == 31.1
    assert target.baseline == pytest.approx((100, 10.0, 10 / 3600))
    assert target.conversion == pytest.approx((75, 7.5, 7.5 / 3600))


def test_the_table_says_how_much_sooner(folder):
    found = targets(trained(folder, {"swinir_light": 0.1, "hit_sir": 1.1}), 2)
    (group,) = target_table({2: found}).groups
    texts = [cell.text for cell in group.rows[0].cells]
    hours = ["0.0028", "0.0014", "2.0"]
    assert texts == ["31.10", "100", "50", "2.0", "10", "5", "2.0", *hours]
    assert target_finding(found) == (
        "The conversion reaches the baseline’s final PSNR, in less time than the baseline trained."
    )
    assert target_finding(found * 2) == (
        "In both pairs the conversion reaches the baseline’s final PSNR, in two of them in less "
        "time than the baseline trained."
    )


def test_what_is_never_reached_is_said(folder):
    found = targets(trained(folder, {"swinir_light": 1.1, "hit_sir": 0.1}), 2)
    (group,) = target_table({2: found}).groups
    assert [cell.text for cell in group.rows[0].cells][2:4] == ["not reached", "not reached"]
    assert target_finding(found) == "No conversion reaches its baseline’s final PSNR."


def test_half_a_pair_has_no_target(folder):
    folder.training(runs(folder.config)["hit_sir-x2-s1"])
    assert targets(folder.evidence(), 2) == []


def test_devices_of_a_conversion_count_once_each(folder):
    evidence = trained(folder, {"swinir_light": 0.1, "hit_sir": 0.6}, devices={"hit_sir": 4})
    (target,) = targets(evidence, 2)
    assert target.conversion.device_hours == pytest.approx(4 * 7.5 / 3600)
    (group,) = target_table({2: [target]}).groups
    texts = [cell.text for cell in group.rows[0].cells]
    assert texts[-1] == "0.3"  # 10 of one device for 30 of four
    assert texts[6] == "1.3"


def test_older_logs_have_no_device_hours(folder):
    evidence = trained(folder, {"swinir_light": 0.1, "hit_sir": 1.1}, devices={"hit_sir": None})
    (target,) = targets(evidence, 2)
    assert target.conversion.device_hours is None
    (group,) = target_table({2: [target]}).groups
    texts = [cell.text for cell in group.rows[0].cells]
    assert texts[-3:] == ["0.0028", "not logged", "not logged"]
    assert texts[4:7] == ["10", "5", "2.0"]


def test_averaged_weights_are_not_held_against_weights(folder, averaged):
    evidence = trained(folder, {"swinir_light": 0.1, "hit_sir": 0.6})
    assert unlike_pairs(evidence, 2) == []
    unlike = averaged(evidence)
    assert targets(unlike, 2) == []
    assert unlike_pairs(unlike, 2) == ["hit_sir"]
    (family,) = unlike.families
    assert evidence.lead(family, 2)
    assert unlike.lead(family, 2) == []


@pytest.mark.parametrize(
    ("hours", "digits"), [([], 1), ([60.0, 300.0], 1), ([0.52], 2), ([9.0, 0.0], 1), ([2e-9], 6)]
)
def test_two_digits_of_the_shortest_time_are_shown(hours, digits):
    assert hours_digits(hours) == digits
