"""SCAN: clusters in which an example and its nearest neighbours agree.

Dimension key:  N examples  B batch  D features  K clusters
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import Batch, TrialError
from tlbench_unlabelled.pretraining import Pretraining, after
from tlbench_unlabelled.second_half import one_tensor, require_pretraining
from tlbench_unlabelled.views import Views

if TYPE_CHECKING:
    from tlbench import Context, Fitted, Start, Step, Terms

_LEAST = 1e-8
"""Below this, probabilities count as this in a logarithm."""


def consistency(phi_BK: Tensor, neighbour_BK: Tensor) -> Tensor:
    """-1/B sum log <phi(x), phi(n)>, over examples x and one neighbour n of each (Van Gansbeke et al. 2020, eq. 2)."""
    return -(phi_BK * neighbour_BK).sum(1).clamp(min=_LEAST).log().mean()


def negative_entropy(phi_BK: Tensor) -> Tensor:
    """sum_c phi'_c log phi'_c with phi' the mean of phi (eq. 2): least, -log K, where all clusters are of one size."""
    mean_K = phi_BK.mean(0).clamp(min=_LEAST)
    return (mean_K * mean_K.log()).sum()


def self_label_loss(seen_BK: Tensor, shown_BK: Tensor, threshold: float) -> Tensor:
    """Mean cross-entropy of the logits ``shown`` against the most probable cluster of the probabilities ``seen``, over
    the examples for which that is above the threshold, each cluster with the same weight; 0 where there are none.
    """
    sure_B, label_B = seen_BK.max(1)
    clusters_K = torch.arange(seen_BK.shape[1], device=seen_BK.device)
    # by weights, 0 below the threshold: how many are kept is not asked, for the host would wait for the answer
    given_BK = ((label_B[:, None] == clusters_K) & (sure_B > threshold)[:, None]).float()
    count_K = given_BK.sum(0)
    weight_B = (given_BK / count_K.clamp(min=1)).sum(1)
    surprise_B = F.cross_entropy(shown_BK.float(), label_B, reduction="none")
    return (weight_B * surprise_B).sum() / (count_K > 0).sum().clamp(min=1)


def neighbours_of(h_BD: Tensor, bank_ND: Tensor, count: int) -> Tensor:
    """Rows int64 [B, count] of the bank nearest to each example by cosine, after the nearest, the example itself."""
    near: Tensor = (h_BD @ bank_ND.T).topk(count + 1, dim=1).indices
    return near[:, 1:]


@dataclass(frozen=True)
class SCAN:
    """Semantic clustering by adopting nearest neighbours (Van Gansbeke et al. 2020, eq. 2).

    Minimises -mean log <phi(x), phi(n)> + entropy * sum_c phi'_c log phi'_c over the target, where phi are the
    probabilities of K clusters, n is one of the ``neighbours`` nearest examples in the features that pre-training
    gave, and phi' the mean of phi over the batch. The second term is the entropy's negative: with too little weight on
    it all examples fall into one cluster. Views of both examples pass the network, which starts from the pre-trained
    weights; then, if asked for, confident examples teach the rest (sec. 2.3). K is the number of classes, an oracle.
    Departures: pre-training is on the source, the paper's on the target itself; there is one head, where the paper
    keeps the best of several; a neighbour is drawn at each step, not fixed lists gone through.
    """

    name: ClassVar[str] = "scan"
    needs: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target_unlabelled"})
    start: ClassVar[Start] = "weights"

    pretrain: Pretraining = "simclr"
    """How the backbone learns from the unlabelled source first."""
    pretrain_steps: int | None = None
    """Steps of pre-training; as many as the recipe has where left out."""
    neighbours: int = 20
    """From how many nearest examples a neighbour is drawn."""
    entropy: float = 5.0
    """Weight of the entropy term, lambda."""
    self_label: float = 0.0
    """Share of the steps, the last ones, in which confident examples are the labels."""
    threshold: float = 0.99
    """How probable a cluster must be for an example to count as confident."""
    crop: float = 0.5
    """Smallest share of an image's area that a view keeps; 1 for no crop."""
    flip: bool = False
    """Whether views are mirrored left to right half the time."""
    jitter: float = 0.4
    """Strength of random brightness, contrast and saturation of views."""
    noise: float = 0.1
    """Standard deviation of the views' noise in standard deviations of the inputs."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")
        if self.entropy < 0:
            raise ValueError(f"entropy must not be negative, got {self.entropy}")
        for name in ("self_label", "threshold"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        require_pretraining(self.pretrain_steps, 1.0)
        self._views()

    def fit(self, ctx: Context) -> Fitted:
        taught = after(ctx, self.pretrain, self.pretrain_steps)
        model, frozen, views = taught.classifier(), taught.backbone().eval().requires_grad_(False), self._views()
        x_N = one_tensor(ctx.inputs("target_unlabelled").x, "scan")
        bank_ND = F.normalize(taught.features("target_unlabelled").x, dim=1)
        count = min(self.neighbours, len(x_N) - 1)
        if count < 1:
            raise TrialError("scan needs two examples of the target at least")

        def draws(step: Step, phase: int) -> torch.Generator:
            return torch.Generator().manual_seed((ctx.seed * 2 + phase + step.index * 0x9E3779B97F4A7C15) % 2**63)

        def agree(target: Batch, step: Step) -> Terms:
            size, shape = len(target), x_N.shape[1:]

            def drawn(now: Step) -> dict[str, Tensor]:
                generator = draws(now, 0)
                which = torch.randint(count, (size, 1), generator=generator)
                return {"which": which} | views.draws((2 * size, *shape), generator)

            numbers = dict(step.host(drawn))
            with torch.no_grad():
                near = neighbours_of(F.normalize(frozen(target.x).float(), dim=1), bank_ND, count)
            which_B1 = numbers.pop("which").to(near.device)
            both = torch.cat([target.x, x_N[near.gather(1, which_B1).squeeze(1)]])
            phi_BK, neighbour_BK = model(views.of(both, numbers)).float().softmax(1).chunk(2)
            return {
                "consistency": consistency(phi_BK, neighbour_BK),
                "entropy": self.entropy * negative_entropy(phi_BK),
            }

        def teach(target: Batch, step: Step) -> Terms:
            with torch.no_grad():
                seen_BK = model(target.x).float().softmax(1)
            shape = target.x.shape
            shown = views.of(target.x, step.host(lambda now: views.draws(shape, draws(now, 1))))
            return {"self-label": self_label_loss(seen_BK, model(shown), self.threshold)}

        last = min(round(self.self_label * ctx.steps_left), ctx.steps_left - 1)
        ctx.train(agree, update=model, on=("target_unlabelled",), steps=ctx.steps_left - last)
        if last:
            ctx.train(teach, update=model, on=("target_unlabelled",), steps=last)
        fitted: Fitted = model
        return fitted

    def _views(self) -> Views:
        return Views(self.crop, self.flip, self.jitter, self.noise)
