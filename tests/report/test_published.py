import shutil
from itertools import product

import pytest

from hitsr.base.errors import DataError
from hitsr.report.names import FAMILIES, short_label
from hitsr.report.published import read_published
from hitsr.specs.claims import SCALES, TEST_SETS


@pytest.fixture
def published(reports):
    return read_published(reports / "published")


def test_every_network_is_quoted_at_every_scale_on_every_set(published):
    found = {(quote.method, quote.scale, quote.dataset): quote for quote in published.quotes}
    names = [short_label(name) for family in FAMILIES for name in family.networks]
    for place in product(names, SCALES, TEST_SETS):
        assert found[place].flops_g
        assert found[place].psnr_db


def test_every_quote_has_a_source(published):
    assert all(row.source for row in (*published.quotes, *published.successors))


def test_what_is_not_printed_is_absent(published):
    assert {quote.runtime_ms for quote in published.quotes if quote.method == "EDSR-B"} == {None}
    assert None in {row.flops_g for row in published.successors}


def test_a_training_set_is_read_without_where_it_is_said(published):
    told = {row.train_data for row in published.successors if row.is_trained_on("DIV2K")}
    assert {"DIV2K", "DIV2K (config)"} <= told
    assert not any("DF2K" in words for words in told)


def test_a_file_that_is_no_table_is_named(reports, tmp_path):
    folder = shutil.copytree(reports / "published", tmp_path / "published")
    (folder / "successors.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(DataError, match=r"successors\.csv: not UTF-8; restore"):
        read_published(folder)


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
