"""MMD: match the means of the two domains' features in the space of a sum of Gaussian kernels (DDC, DAN)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import TrialError
from tlbench_adaptation.two_domains import Passes, features_of_both

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench import Batch, Context, Fitted, Step, Terms

Estimate = Literal["unbiased", "biased"]


def mmd2(
    source_BD: Tensor,
    target_BD: Tensor,
    octaves: Sequence[float] = (-2, -1, 0, 1, 2),
    estimate: Estimate = "unbiased",
) -> Tensor:
    """Squared maximum mean discrepancy E k(s, s') + E k(t, t') - 2 E k(s, t) of two samples (Gretton et al. 2012).

    k(x, y) is the mean over u in ``octaves`` of exp(-||x - y||^2 / (2^u m)), with m the median squared distance
    between different examples of both samples together, taken as a constant (Long et al. 2015, sec. 4.1).
    ``unbiased`` leaves out the pairs of an example with itself (Gretton et al. 2012, eq. 3), has expectation 0
    where the domains are alike, and may be negative; ``biased`` keeps them (eq. 5), is never negative, and
    exceeds 0 by an amount of order 1 / B for batches of B alike domains.
    """
    ns, nt = len(source_BD), len(target_BD)
    with torch.autocast(source_BD.device.type, enabled=False):  # bfloat16 loses differences of distances
        both = torch.cat([source_BD, target_BD]).float()
        size = both.square().sum(1)
        distance = (size[:, None] + size[None, :] - 2 * both @ both.T).clamp(min=0)
        # all but the diagonal: less its first entry, the square falls into rows that each end with one of the diagonal
        others = distance.detach().flatten()[1:].view(ns + nt - 1, ns + nt + 1)[:, :-1]
        median = others.flatten().median().clamp(min=1e-12)
        kernel = torch.stack([torch.exp(-distance / (2.0**u * median)) for u in octaves]).mean(0)
        ss, tt, st = kernel[:ns, :ns], kernel[ns:, ns:], kernel[:ns, ns:]
        if estimate == "biased":
            return ss.mean() + tt.mean() - 2 * st.mean()
        same_s, same_t = (ss.sum() - ns) / (ns * (ns - 1)), (tt.sum() - nt) / (nt * (nt - 1))  # k(x, x) = 1
        return same_s + same_t - 2 * st.mean()


@dataclass(frozen=True)
class MMD:
    """Supervised training on the source plus the squared MMD of what the network makes of both domains.

    With ``match: features`` this is deep domain confusion (Tzeng et al. 2014, eq. 1) with a sum of Gaussian
    kernels in the place of the linear one; with ``match: both`` it is the deep adaptation network (Long et al.
    2015, eq. 4), which sums the MMD over several layers: here over the features and the class scores.
    Departures: DAN's layers are the three fully connected ones of AlexNet, its kernel's weights are learned
    and its estimate is the one of linear cost; here the kernels weigh alike and all pairs of a batch count.
    DDC's weight is 0.25; DAN chooses its own. The optimiser's weight decay stays as in the recipe.
    """

    name: ClassVar[str] = "mmd"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    weight: float = 1.0
    """Weight of the MMD beside the source's cross-entropy."""
    match: Literal["features", "scores", "both"] = "features"
    """What is matched: the features, the class scores, or each of them by an MMD of its own."""
    octaves: tuple[float, ...] = (-2.0, -1.0, 0.0, 1.0, 2.0)
    """Bandwidths of the kernels as powers of two times the median squared distance in the batch."""
    estimate: Estimate = "unbiased"
    """``unbiased`` leaves out the pairs of an example with itself; ``biased`` keeps them and is never negative."""
    passes: Passes = "separate"
    """Whether the two domains pass the backbone together or each by itself, which differs under BatchNorm."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")
        if not self.octaves:
            raise ValueError("octaves needs at least one power of two, got none")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()

        def loss(source: Batch, target: Batch, step: Step) -> Terms:
            if min(len(source), len(target)) < 2:
                raise TrialError("mmd needs two examples of each domain in a batch; batches here have one")
            source_BD, target_BD = features_of_both(model.backbone, source.x, target.x, self.passes)
            source_BC = model.head(source_BD)
            layers = []
            if self.match != "scores":
                layers.append((source_BD, target_BD))
            if self.match != "features":
                layers.append((source_BC, model.head(target_BD)))
            gaps = torch.stack([mmd2(s, t, self.octaves, self.estimate) for s, t in layers])
            return {"task": F.cross_entropy(source_BC, source.y), "mmd": self.weight * gaps.sum()}

        ctx.train(loss, update=model, on=("source", "target_unlabelled"))
        fitted: Fitted = model
        return fitted
