"""The whole reproduction: rules hold only patterns and dependencies; `hitsr <verb>` does the work.

`hitsr.plan` lists the jobs of a config. A rule finds its job by its output, and passes the job file
to the verb. Plain `snakemake` builds the demo's report; `--configfile configs/paper.yaml` another.
"""

import atexit
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from hitsr.base.errors import HitsrError
from hitsr.base.files import sha256, visible
from hitsr.base.streams import use_utf_8
from hitsr.base.writers import become_sole_user, has_user
from hitsr.plan.ahead import Wanted, sort_of, write_wanted
from hitsr.plan.batches import LATENCY, cost_batches, rule_name
from hitsr.plan.command_line import config_file
from hitsr.plan.failures import MARK, failure_lines
from hitsr.plan.fingerprint import code_of
from hitsr.plan.jobs import MapJob, device_kind
from hitsr.plan.kept import publish_kept
from hitsr.plan.layout import FILE_NAME, file_name
from hitsr.plan.needs import (
    available_gpus,
    missing_data,
    missing_devices,
    missing_gpus,
    missing_tensorboard,
    missing_weights,
)
from hitsr.plan.planning import make_plan
from hitsr.plan.watching import lost, noticed
from hitsr.specs.ablation import read_ablations
from hitsr.specs.config import load_config, recipe_words
from snakemake.exceptions import WorkflowError

use_utf_8()


include: "workflow/rules/common.smk"
include: "workflow/rules/pictures.smk"
include: "workflow/rules/costs.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        LAYOUT.report / "index.html",
