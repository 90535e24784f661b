import subprocess
import sys

import pytest

import hitsr
from hitsr.base.errors import SpecError

# What others build on (DESIGN, section 6).
NAMES = {
    "NETWORKS",
    "complexity",
    "create",
    "imresize",
    "load_weights",
    "psnr",
    "ssim",
    "to_hierarchical",
}


def test_the_public_names_are_there():
    assert set(hitsr.__all__) >= NAMES
    for name in hitsr.__all__:
        assert getattr(hitsr, name) is not None
        assert name in dir(hitsr)
    assert hitsr.__version__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'hitsr' has no attribute 'psnrr'"):
        hitsr.psnrr  # noqa: B018


def test_each_name_resolves_by_itself():
    code = "import sys, hitsr; hitsr.NETWORKS, hitsr.create; assert 'hitsr.data' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_complexity_counts_a_named_network():
    found = hitsr.complexity("hit_sir", 2)
    assert found.params == 772064
    assert found.flops == pytest.approx(209.89e9, abs=0.05e9)


def test_complexity_takes_a_spec_and_an_output_size():
    spec = hitsr.NETWORKS["swinir_light"].patch({"depths": [6]})
    model = hitsr.create(spec, 4)
    small = hitsr.complexity(spec, 4, output_size=(64, 32))
    assert small.params == sum(parameter.numel() for parameter in model.parameters())
    assert small.flops == 2 * hitsr.complexity(spec, 4, output_size=(32, 32)).flops


@pytest.mark.parametrize(("name", "scale"), [("hit_sri", 2), ("hit_sir", 5)])
def test_complexity_of_no_network_is_an_error(name: str, scale: int):
    with pytest.raises(SpecError):
        hitsr.complexity(name, scale)
