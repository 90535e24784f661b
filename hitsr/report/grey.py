"""Pictures that are grey at source: which mean of a set a table has, and what the other one is.

Published rows differ here: some score a grey picture on its own samples, some on the luma of RGB,
and Set14's mean moves by a tenth of a decibel.
"""

from itertools import product

from hitsr.records import QualityRecord
from hitsr.report.evidence import Evidence
from hitsr.report.names import BICUBIC, label
from hitsr.report.typeset import fixed, listed
from hitsr.specs.network import Scale


def grey_notes(evidence: Evidence) -> list[str]:
    """One for each set and scale with such a picture."""
    places = product(evidence.config.data.test, evidence.config.scales)
    return [note for dataset, scale in places if (note := _note(evidence, dataset, scale))]


def _note(evidence: Evidence, dataset: str, scale: Scale) -> str:
    names = {
        f"“{picture.name}”"
        for record in evidence.results.of(QualityRecord)
        if (record.dataset, record.scale) == (dataset, scale)
        for picture in record.pictures
        if picture.grey
    }
    if not names:
        return ""
    where = {"scale": scale, "dataset": dataset}
    means = []
    for method in (BICUBIC, *evidence.networks):
        as_grey = evidence.level("psnr_as_grey_db", method, **where)
        as_rgb = evidence.level("psnr_db", method, **where)
        if as_grey and as_rgb:
            numbers = f"{fixed(as_grey.value, 2)} instead of {fixed(as_rgb.value, 2)}"
            means.append(f"{label(method)} {numbers}")
    return (
        f"{listed(sorted(names))} of {evidence.set_name(dataset)} ×{scale} "
        f"{'is' if len(names) == 1 else 'are'} grey at source. The table scores the luma of RGB, "
        "as of every other picture; on grey samples as they are, the mean PSNR in dB is "
        f"{listed(means)}."
    )
