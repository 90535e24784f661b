"""Claims about how networks learn, and what of a picture they draw on."""

from itertools import product

from hitsr.base.errors import RecordError
from hitsr.records import AttributionRecord
from hitsr.report.budget import Budget
from hitsr.report.ledger.costs import pairs
from hitsr.report.ledger.quality import STYLES, hindrance
from hitsr.report.ledger.ruling import Ruling, Style, measured_part
from hitsr.report.measures import Curve, Evidence, aligned
from hitsr.report.names import Family, label
from hitsr.report.statistics import Estimate, mean
from hitsr.report.typeset import counted
from hitsr.report.verdicts import Measured, above
from hitsr.specs.claims import Attribution, Convergence
from hitsr.specs.config import runs
from hitsr.specs.network import Scale

_INDEX = Style(1, plus=True)


def convergence(claim: Convergence, evidence: Evidence, budget: Budget) -> Ruling:
    """Validation PSNR of conversion less baseline, mean over the steps that both logged."""
    parts, ahead, steps = [], 0, 0
    for family, scale in pairs(claim):
        seeds = _leads(evidence, family, scale)
        ahead += sum(lead > 0 for leads in seeds for lead in leads)
        steps += sum(map(len, seeds))
        here = _measured(mean([mean(leads).value for leads in seeds])) if seeds else None
        reason = hindrance(budget) if here else _untrained(evidence, scale)
        name = f"{label(family.conversion)} ×{scale}"
        parts.append(measured_part(name, STYLES["psnr"], above(0), None, here, reason))
    note = f"Ahead at {ahead} of {counted(steps, 'validated step')}." if steps else ""
    return Ruling(claim, tuple(parts), "pair", note)


def attribution(claim: Attribution, evidence: Evidence, budget: Budget) -> Ruling:
    """Diffusion index of conversion less baseline, mean over windows of the same pictures."""
    parts, higher, windows = [], 0, 0
    sets = {dataset for _, dataset in evidence.results.attribution}
    for (family, scale), dataset in product(pairs(claim), sorted(sets) or [""]):
        leads = _index_leads(evidence, family, scale, dataset)
        higher += sum(lead > 0 for lead in leads)
        windows += len(leads)
        here = _measured(mean(leads)) if leads else None
        reason = hindrance(budget) if here else _untrained(evidence, scale)
        where = f", {evidence.set_name(dataset)}" if dataset else ""
        name = f"{label(family.conversion)} ×{scale}{where}"
        parts.append(measured_part(name, _INDEX, above(0), None, here, reason))
    note = f"Higher in {higher} of {counted(windows, 'window')}." if windows else ""
    return Ruling(claim, tuple(parts), "pair", note)


def _untrained(evidence: Evidence, scale: Scale) -> str:
    train = evidence.config.train
    return "" if train and scale in train.scales else "not trained at this scale"


def _measured(found: Estimate) -> Measured:
    if found.half is None:
        return Measured(found.value)
    return Measured(found.value, (found.value - found.half, found.value + found.half))


def _leads(evidence: Evidence, family: Family, scale: Scale) -> list[list[float]]:
    """For each seed that both have finished: the lead in dB at each step that both validated."""
    curves = {
        (run.network.name, run.seed): found
        for run in runs(evidence.config).values()  # those of ablations may share a network
        if run.scale == scale
        and (training := evidence.results.training.get(run.name))
        and (found := aligned([training.log], "validation_psnr_db"))
    }
    seeds = sorted({seed for _, seed in curves})
    both = [[curves.get((network, seed)) for network in family.networks] for seed in seeds]
    leads = [_lead(before, after) for before, after in both if before and after]
    return [lead for lead in leads if lead]


def _lead(before: Curve, after: Curve) -> list[float]:
    old, new = (dict(zip(curve.steps, curve.mean)) for curve in (before, after))
    return [new[step] - old[step] for step in sorted(old.keys() & new.keys())]


def _index_leads(evidence: Evidence, family: Family, scale: Scale, dataset: str) -> list[float]:
    """For each window that both were mapped in, of each seed: the lead in diffusion index."""
    maps, leads = evidence.results.attribution, []
    for (name, on), after in maps.items():
        if (after.network, after.scale, on) != (family.conversion, scale, dataset):
            continue
        other = family.baseline + name.removeprefix(family.conversion)
        if before := maps.get((other, dataset)):
            old, new = _indices(before), _indices(after)
            if old.keys() != new.keys():
                raise RecordError(
                    f"{other} and {name} on {dataset}: not mapped in the same windows; "
                    "rerun `hitsr lam` for both"
                )
            leads += [new[window] - old[window] for window in new]
    return leads


def _indices(record: AttributionRecord) -> dict[object, float]:
    return {
        (each.picture, each.lr_sha256, each.lr_size, each.corner, each.window): each.diffusion_index
        for each in record.windows
    }
