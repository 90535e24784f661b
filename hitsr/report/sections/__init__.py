"""The sections of the page, in the order of REPORT-DESIGN.

A new section is a module here, a template in `reports/templates/sections`, and a line below.
"""

from hitsr.records import AttributionRecord, ScalingRecord, ScalingTimeRecord
from hitsr.report.budget import Budget
from hitsr.report.evidence import Evidence
from hitsr.report.section import Section
from hitsr.report.sections.ablations import ablations_section
from hitsr.report.sections.attribution import attribution_section
from hitsr.report.sections.claims import claims_section
from hitsr.report.sections.convergence import convergence_section
from hitsr.report.sections.cost import cost_section
from hitsr.report.sections.efficiency import efficiency_section
from hitsr.report.sections.pictures import pictures_section
from hitsr.report.sections.provenance import provenance_section
from hitsr.report.sections.quality import quality_section
from hitsr.report.sections.scaling import scaling_section
from hitsr.report.sections.speed import speed_section
from hitsr.report.taken_apart import places


def sections(evidence: Evidence, budget: Budget) -> list[Section]:
    train = evidence.config.train
    return [
        claims_section(evidence),
        efficiency_section(evidence),
        *([speed_section(evidence)] if _has_steps(evidence) else []),
        *([scaling_section(evidence)] if _has_scaling(evidence) else []),
        quality_section(evidence, budget),
        cost_section(evidence, budget),
        *([convergence_section(evidence, budget, train)] if train else []),
        *([attribution_section(evidence, budget)] if _has_maps(evidence) else []),
        pictures_section(evidence),
        *([ablations_section(evidence, budget)] if evidence.ablations else []),
        provenance_section(evidence),
        protocol_section(),
    ]


def protocol_section() -> Section:
    """Prose of its template alone."""
    return Section("protocol", "Protocol", "What each number means", {})


def _has_scaling(evidence: Evidence) -> bool:
    """Asked for, or there all the same."""
    of = evidence.results.of
    return bool(evidence.config.scaling or of(ScalingRecord) or of(ScalingTimeRecord))


def _has_maps(evidence: Evidence) -> bool:
    """Asked for, or there all the same."""
    return evidence.config.lam is not None or bool(evidence.results.of(AttributionRecord))


def _has_steps(evidence: Evidence) -> bool:
    """Asked for, or there all the same."""
    return evidence.config.efficiency.latency.taken_apart or bool(places(evidence))
