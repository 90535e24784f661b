"""The whole reproduction: names and dependencies only; all work is done by `hitsr <verb>`.

Plain `snakemake` builds the demo report; `--configfile configs/paper.yaml` another.
"""

from pathlib import Path

from hitsr.code import fingerprint
from hitsr.config import (
    available_device,
    load_config,
    missing_data,
    runs,
    scaled_networks,
)
from hitsr.errors import HitsrError
from hitsr.values import read_yaml
from snakemake.exceptions import WorkflowError

if not config:

    configfile: "configs/demo.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/lam.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",
