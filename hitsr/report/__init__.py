"""The report, made from records alone: tables, figures, words, one HTML page. Loads no torch.

    gather → measures → cells, svg → sections/* → page

Read `gather` for what is on disk, `cells` for what a table may say, `sections/efficiency` for how a
section is made of both, `page` for the whole.
"""

from hitsr.report.page import render, render_ablation
from hitsr.report.tables import collect

__all__ = ["collect", "render", "render_ablation"]
