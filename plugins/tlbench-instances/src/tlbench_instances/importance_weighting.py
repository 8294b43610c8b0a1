"""Importance weighting: source examples count as much as they are likelier in the target than in the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn import functional as F

from tlbench import SkipTrial
from tlbench_instances.density_ratio import (
    discriminator_weights,
    effective_sample_size,
    kliep_by_likelihood,
    kmm_weights,
    median_distance,
)
from tlbench_instances.spaces import Array, Space, compared_in

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms

MOST_FOR_KMM = 10_000
"""KMM holds a square matrix over the source examples: 800 MB at this many."""


def tempered(weight_S: Array, flattening: float, largest: float) -> Array:
    """w^flattening (Shimodaira 2000) at a mean of one, cut at ``largest``, and brought to a mean of one again."""
    weight_S = weight_S**flattening
    cut = (weight_S / weight_S.mean()).clip(max=largest)
    tempered_S: Array = cut / cut.mean()
    return tempered_S


@dataclass(frozen=True)
class ImportanceWeighting:
    """Training on the source with the weights w(x) = p_T(x) / p_S(x) (Shimodaira 2000), for covariate shift.

    ``discriminator``  odds of a logistic regression between the domains (Bickel, Brückner & Scheffer 2007)
    ``kmm``            kernel mean matching (Huang et al. 2007); the kernel's width is ``widths[0]``
    ``kliep``          a kernel model of greatest likelihood (Sugiyama et al. 2008), its width from ``widths`` by the
                       likelihood of target examples left out

    Then the classifier is trained as by source-only, with the loss mean_i w_i CE_i. Records
    ``effective_sample_size``, (sum w)^2 / sum w^2, and ``effective_share``, that over the number of source examples.

    Departures: features are standardised over both domains; weights are brought to a mean of one and cut at
    ``largest`` times that (KMM's authors allow 1000); widths are multiples of the median distance between examples.
    """

    name: ClassVar[str] = "importance-weighting"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    method: Literal["discriminator", "kmm", "kliep"] = "discriminator"
    """How the density ratio is estimated."""
    space: Space = "features"
    """Where it is estimated: the frozen backbone's features, or the inputs."""
    strength: float = 1.0
    """C of the discriminator; smaller makes the weights more alike."""
    widths: tuple[float, ...] = (1.0, 0.25, 0.5, 2.0, 4.0)
    """Kernel widths, as multiples of the median distance between examples."""
    centres: int = 100
    """KLIEP's kernel centres, at most."""
    flattening: float = 1.0
    """The power that weights are raised to, in [0, 1]: at 0 all are alike."""
    largest: float = 20.0
    """The largest weight; the mean is one."""

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise ValueError(f"strength must be positive, got {self.strength}")
        if not self.widths or min(self.widths) <= 0:
            raise ValueError(f"widths needs at least one positive number, got {list(self.widths)}")
        if self.centres < 1:
            raise ValueError(f"centres must be at least 1, got {self.centres}")
        if not 0 <= self.flattening <= 1:
            raise ValueError(f"flattening must be in [0, 1], got {self.flattening}")
        if self.largest < 1:
            raise ValueError(f"largest must be at least 1, the mean weight, got {self.largest}")

    def fit(self, ctx: Context) -> Fitted:
        weight_S = tempered(self._ratio(ctx), self.flattening, self.largest)
        effective = effective_sample_size(weight_S)
        ctx.report("effective_sample_size", effective)
        ctx.report("effective_share", effective / len(weight_S))
        weight = torch.from_numpy(weight_S).float().to(ctx.device)
        model = ctx.classifier()

        def loss(source: Batch, step: Step) -> Terms:
            each_B = F.cross_entropy(model(source.x), source.y, reduction="none")
            return (weight[source.rows] * each_B).mean()

        ctx.train(loss, update=model, on=("source",))
        fitted: Fitted = model
        return fitted

    def _ratio(self, ctx: Context) -> Array:
        if self.method == "kmm" and ctx.pools["source"] > MOST_FOR_KMM:
            raise SkipTrial(
                f"kmm solves for all weights at once and takes {MOST_FOR_KMM} source examples at most, not "
                f"{ctx.pools['source']}; use kliep or discriminator"
            )
        source_SD, target_TD = compared_in(ctx, self.space, "target_unlabelled")
        if self.method == "discriminator":
            return discriminator_weights(source_SD, target_TD, self.strength)
        median = median_distance(source_SD, target_TD, ctx.rng)
        widths = [factor * median for factor in self.widths]
        if self.method == "kmm":
            return kmm_weights(source_SD, target_TD, widths[0], self.largest)
        return kliep_by_likelihood(source_SD, target_TD, widths, ctx.rng, self.centres)(source_SD)
