"""What is measured, as values: names of one's own networks, and where weights are found."""

from pathlib import Path

import pytest

from hitsr.plan.subjects import find_weights, own_network, weight_names
from hitsr.specs.source import is_source


def test_weights_are_found_by_any_of_their_names(tmp_path: Path):
    for path in reversed(weight_names(tmp_path, "hit_sir", 2)):
        assert find_weights(tmp_path, "hit_sir", 3) is None
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert find_weights(tmp_path, "hit_sir", 2) == path


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("nets/my-net.py:build", "my_net"),
        ("package.models.mine:build", "mine"),
        ("spandrel:weights/4x_Mine.pth", "4x_mine"),
    ],
)
def test_own_network_is_called_after_its_file(source: str, name: str):
    assert is_source(source)
    assert own_network(source, 2).network_name == name
    assert own_network(source, 2, "other").name == "other-x2"


def test_own_network_follows_the_content_of_its_file(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("a = 1\n")
    source = f"{file}:build"
    before = own_network(source, 2)
    assert before == own_network(source, 2) != own_network(source, 3)
    file.write_text("a = 2\n")
    assert own_network(source, 2) != before
