from hitsr.report.targets import target_finding, target_table, targets
from hitsr.specs.config import runs


def trained(folder, gains):
    """Both networks trained, their validation PSNR raised: 29.5, 30, 30.5, 31 at step 25 to 100."""
    for run in runs(folder.config).values():
        folder.training(run, gain=gains[run.network.name])
    return folder.evidence()


def test_a_target_is_reached_in_steps_and_in_seconds(folder):
    (target,) = targets(trained(folder, {"swinir_light": 0.1, "hit_sir": 0.6}), 2)
    assert target.psnr_db == 31.1
    assert target.baseline == (100, 10.0)
    assert target.conversion == (75, 7.5)


def test_the_table_says_how_much_sooner(folder):
    found = targets(trained(folder, {"swinir_light": 0.1, "hit_sir": 1.1}), 2)
    (group,) = target_table({2: found}).groups
    texts = [cell.text for cell in group.rows[0].cells]
    assert texts == ["31.10", "100", "50", "2.0", "10", "5", "2.0"]
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
