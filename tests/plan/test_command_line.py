import re
from pathlib import Path

import pytest

from hitsr.base.errors import SpecError
from hitsr.plan.command_line import check, config_file, job_prefix, share_disk
from hitsr.specs.config import load_config

ROOT = Path(__file__).parents[2]
DEMO = str(ROOT / "configs" / "demo.yaml")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-n", "ablation_softmax", "--configfile", DEMO),
        ("--configfiles", DEMO, "--cores", "2"),
        (f"--configfile={DEMO}", "--unlock"),
        ("--config", "--configfile", DEMO),
    ],
)
def test_one_valid_config_is_accepted(arguments: tuple[str, ...]):
    check(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--configfile", DEMO, DEMO),
        ("--configfile", DEMO, "--configfile", DEMO),
        ("--configfile", DEMO, "--configfiles", DEMO),
        ("--configfile", DEMO, "all"),
        ("--config", "name=other"),
        ("--config", "name"),
        ("-C", "1=2", "--configfile", DEMO),
    ],
)
def test_several_configs_and_single_values_are_refused(arguments: tuple[str, ...]):
    with pytest.raises(SystemExit, match="hitsr: settings come from one config file"):
        check(arguments)


def test_a_wrong_config_is_told_as_everywhere(tmp_path: Path):
    file = tmp_path / "a.yaml"
    for text in ("- 1", "", "a: [", "name: 1", "name: a\nname: b", "a: 2026-13-45"):
        file.write_text(text)
        with pytest.raises(SpecError) as told:
            load_config(file)
        with pytest.raises(SystemExit) as said:
            check(["--configfile", str(file)])
        assert said.value.code == f"hitsr: {told.value}"


def test_without_a_config_it_is_the_demo_here_else_hitsr_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert config_file([], {}) == Path(DEMO)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").touch()
    assert config_file([], {}) == tmp_path / "configs" / "demo.yaml"


def test_jobs_of_each_results_folder_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite = str(ROOT / "configs" / "lite.yaml")
    here = job_prefix(["--configfile", DEMO])
    assert re.fullmatch(r"hitsr_[0-9a-f]{8}", here)
    assert job_prefix(["-n", f"--configfile={DEMO}"]) == here
    assert job_prefix(["--configfile", lite]) != here
    monkeypatch.chdir(tmp_path)
    assert job_prefix(["--configfile", DEMO]) != here


def test_an_executor_that_is_missing_is_told() -> None:
    with pytest.raises(SystemExit, match=r"hitsr: executor no-such: .*-executor-plugin-no-such`"):
        share_disk("no-such")
