import pytest

from hitsr.base.errors import DataError
from hitsr.report.names import FAMILIES
from hitsr.report.published import PSNR_TOLERANCE_DB, read_published


@pytest.fixture
def published(reports):
    return read_published(reports / "published")


def test_every_network_is_quoted_at_every_scale_on_every_set(published):
    for network in (name for family in FAMILIES for name in family.networks):
        for scale in (2, 3, 4):
            assert published.cost(network, scale).flops_g
            for dataset in PSNR_TOLERANCE_DB:
                assert published.quality(network, scale, dataset).psnr_db


def test_every_quote_has_a_source(published):
    assert all(quote.source for quote in published.quotes)


def test_what_is_not_printed_is_absent(published):
    assert published.quality("hit_sir", 2, "my pictures") is None
    assert published.runtime_ms("bicubic") is None


@pytest.mark.parametrize(
    "row",
    ["HiT-SIR,two,772,209.9,249,Set5,38.22,0.9613,Table 2", "HiT-SIR,2,772,209.9,249,Set5,1,1,"],
)
def test_a_damaged_or_unsourced_row_is_named(tmp_path, row):
    head = "method,scale,params_k,flops_g,runtime_ms,dataset,psnr,ssim,source"
    (tmp_path / "published.csv").write_text(f"{head}\n{row}\n")
    with pytest.raises(DataError, match=r"published\.csv:2"):
        read_published(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"published\.csv"):
        read_published(tmp_path)
