"""Pictures that are grey at source: which mean of a set a table has, and what the other one is.

Published rows differ here: some score a grey picture on its own samples, some on the luma of RGB,
and Set14's mean moves by a tenth of a decibel.
"""

from collections.abc import Callable

from hitsr.records import QualityRecord
from hitsr.report.measures import Evidence, mean_psnr_db, psnr_db, scored
from hitsr.report.names import BICUBIC, label
from hitsr.report.statistics import mean
from hitsr.report.typeset import fixed, listed
from hitsr.specs.network import Scale


def grey_notes(evidence: Evidence) -> list[str]:
    """One for each set and scale with such a picture."""
    return [
        note
        for dataset in evidence.config.data.test
        for scale in evidence.config.scales
        if (note := _note(evidence, dataset, scale))
    ]


def mean_as_grey_db(record: QualityRecord) -> float:
    """Mean PSNR with grey pictures scored on their samples as they are."""
    return mean([psnr_db(picture.grey or picture) for picture in record.pictures]).value


def _note(evidence: Evidence, dataset: str, scale: Scale) -> str:
    methods = [BICUBIC, *evidence.networks]
    found = {method: scored(evidence.results, method, scale, dataset) for method in methods}
    pictures = [p for records in found.values() for r in records for p in r.pictures if p.grey]
    if not pictures:
        return ""
    names = sorted({f"“{picture.name}”" for picture in pictures})
    means = [
        f"{label(method)} {fixed(_mean(records, mean_as_grey_db), 2)} instead of "
        f"{fixed(_mean(records, mean_psnr_db), 2)}"
        for method, records in found.items()
        if records
    ]
    return (
        f"{listed(names)} of {evidence.set_name(dataset)} ×{scale} "
        f"{'is' if len(names) == 1 else 'are'} grey at source. The table scores the luma of RGB, "
        "as of every other picture; on grey samples as they are, the mean PSNR in dB is "
        f"{listed(means)}."
    )


def _mean(records: list[QualityRecord], number: Callable[[QualityRecord], float]) -> float:
    return mean([number(record) for record in records]).value
