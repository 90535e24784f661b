"""The report, made from records alone: tables, figures, words, one HTML page. Loads no torch.

    gather → facts → evidence, estimates → judging, ledger, tables → sections/* → page

Read `doubts` for which records are used, `facts` for what is known, `evidence` for what is made of
it, `judging` for verdicts, `tables` and `sections/efficiency` for how a section declares what it
shows, `page` for the whole.
"""

from hitsr.report.page import render, render_ablation

__all__ = ["render", "render_ablation"]
