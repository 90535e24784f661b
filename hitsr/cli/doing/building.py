"""Build the network that a subject describes."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from torch import nn

from hitsr.cli.options import say
from hitsr.models.backbone import SuperResolver, create
from hitsr.models.checkpoints import load_weights
from hitsr.models.own import explaining_own, load_own
from hitsr.plan.subjects import Measured, Network, OwnNetwork, Upscaler
from hitsr.specs.network import Formulation, ScaledNetwork
from hitsr.specs.steps import Launch


def build(
    subject: Network | Upscaler | Measured,
    formulation: Formulation | None = "fused",
    weights: Path | None = None,
) -> nn.Module:
    """A new network; with weights from a file, or without one with random weights."""
    if isinstance(subject, OwnNetwork):
        return load_own(subject.source, subject.scale)
    assert subject.spec is not None, subject.name
    made = create(subject.spec, subject.scale, formulation=formulation or "fused")
    if weights is not None:
        load_weights(made, weights, say)
    return made


def load(
    subject: ScaledNetwork, weights: Path, launch: Launch = "eager", autocast: bool = False
) -> SuperResolver:
    """A network of hitsr with weights from a file; WeightsError for weights of another network."""
    model = create(
        subject.network,
        subject.scale,
        compile=launch == "compiled",
        autocast=autocast,
        graph=launch == "graph",
    )
    load_weights(model, weights, say)
    return model


def explaining(subject: Network | Upscaler | Measured) -> AbstractContextManager[None]:
    """Inside the block, errors of a user's own network become SpecErrors that name it."""
    return explaining_own(subject.source) if isinstance(subject, OwnNetwork) else nullcontext()
