"""The whole reproduction: names and dependencies only; all work is done by `hitsr <verb>`.

Plain `snakemake` builds the demo report; `--configfile configs/paper.yaml` another.
"""

import re
from pathlib import Path

from hitsr.specs.ablation import ablation_rows, pick, read_ablations
from hitsr.plan.fingerprint import fingerprint
from hitsr.specs.config import load_config, runs, scaled_networks
from hitsr.base.errors import HitsrError
from hitsr.plan.methods import find_weights, methods, trained
from hitsr.plan.needs import available_device, missing_data, missing_weights
from hitsr.records import latency_setup
from hitsr.base.values import read_yaml
from snakemake.exceptions import WorkflowError

if not config:

    configfile: "configs/demo.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/lam.smk"
include: "workflow/rules/ablations.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",
