"""Prototypical networks: a class is the mean of its support in the features, and near is likely.

Dimension key:  E episodes  W ways  N support examples  Q query examples  D features
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import Episodes, Fitted, TrialError
from tlbench_few_shot.adapted import OnFeatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench import Context, EpisodeBatch, Step, Terms


def prototypes(support_END: Tensor, y_EN: Tensor, ways: int) -> Tensor:
    """c_k = mean of the features of class k's support (Snell et al. 2017, eq. 1): [E, W, D], or [W, D] without E."""
    # torch's one_hot would read the labels on the host first, to check them
    one_hot_ENW = (y_EN.unsqueeze(-1) == torch.arange(ways, device=y_EN.device)).to(support_END.dtype)
    return one_hot_ENW.mT @ support_END / one_hot_ENW.sum(-2).unsqueeze(-1)


def prototype_scores(query_EQD: Tensor, prototypes_EWD: Tensor) -> Tensor:
    """-||f(x) - c_k||^2, whose softmax is p(y = k | x) (Snell et al. 2017, eq. 2): [E, Q, W]. Squared, not the root."""
    with torch.autocast(query_EQD.device.type, enabled=False):  # bfloat16 loses the difference of near points
        query, centre = query_EQD.float(), prototypes_EWD.float()
        return 2 * query @ centre.mT - query.square().sum(-1, keepdim=True) - centre.square().sum(-1).unsqueeze(-2)


def nearest_prototype(support_END: Tensor, y_EN: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
    """The rule of episodes: scores [E, Q, W] of query features by the prototypes of the support; or all without E."""
    centres_EWD = prototypes(support_END, y_EN, ways)
    return lambda query_EQD: prototype_scores(query_EQD, centres_EWD)


def turned(images_ENKSS: Tensor, quarters_EW: Tensor) -> Tensor:
    """Square images [E, W * n, K, S, S], class by class, each class turned by its own number of quarter turns."""
    quarters_EN = quarters_EW.repeat_interleave(images_ENKSS.shape[1] // quarters_EW.shape[1], dim=1)
    angles = torch.stack([torch.rot90(images_ENKSS, k, (-2, -1)) for k in range(4)])
    chosen = quarters_EN[None, :, :, None, None, None].expand(1, *images_ENKSS.shape)
    return angles.gather(0, chosen).squeeze(0)


@dataclass(frozen=True)
class ProtoNet:
    """Training in episodes so that classes gather around the mean of their support (Snell, Swersky & Zemel 2017).

    Minimises the cross-entropy of softmax(-||f(x) - c_k||^2) over the queries of episodes drawn from the source's
    classes (eq. 1 and 2, algorithm 1); a test episode is classified by its nearest prototypes, and nothing is trained
    on it. In training BatchNorm sees support and queries together; in the test it uses its running statistics.

    Departures. With ``rotations`` the paper's Omniglot protocol has four classes for each character (turned by 0,
    90, 180 and 270 degrees); here an episode draws characters and one angle for each, so that two angles of one
    character never meet in one episode. The learning rate and its schedule are the recipe's, not halved every 2,000
    episodes.
    """

    name: ClassVar[str] = "protonet"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "episodes"})

    ways: int | None = None
    """Classes of a training episode; where left out, twice the test's, or all that the source has. More than in
    the test helps."""
    shots: int | None = None
    """Support examples of each class in training; as in the test where left out."""
    queries: int = 5
    """Query examples of each class in training."""
    episodes: int = 1
    """Episodes in one step."""
    rotations: bool = False
    """Each class under each of four angles is a class of its own; for square images."""

    def __post_init__(self) -> None:
        if self.ways is not None and self.ways < 2:
            raise ValueError(f"ways must be at least 2, got {self.ways}")
        for name in ("shots", "queries", "episodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def fit(self, ctx: Context) -> Fitted:
        net = ctx.backbone()
        on = self._training_episodes(ctx)
        if self.rotations and not _square(ctx.shape("source").dims):
            raise TrialError(
                f"rotations need square images; the source has examples of shape {ctx.shape('source').dims}"
            )

        def quarters(now: Step) -> Tensor:
            generator = torch.Generator().manual_seed(ctx.seed * 1_000_003 + now.index)
            return torch.randint(4, (on.count, on.ways), generator=generator)

        def loss(batch: EpisodeBatch, step: Step) -> Terms:
            support, query = batch.support.x, batch.query.x
            if self.rotations:
                quarters_EW = step.host(quarters).to(query.device)
                support, query = turned(support, quarters_EW), turned(query, quarters_EW)
            size = support.shape[1]
            x = torch.cat([support, query], 1)
            features_END = net(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            centres_EWD = prototypes(features_END[:, :size], batch.support.y, on.ways)
            scores_EQW = prototype_scores(features_END[:, size:], centres_EWD)
            return F.cross_entropy(scores_EQW.flatten(0, 1), batch.query.y.flatten())

        ctx.train(loss, update=net, on=(on,))
        return OnFeatures(net, nearest_prototype)

    def _training_episodes(self, ctx: Context) -> Episodes:
        assert ctx.episode is not None, "the extra `episodes` comes with the size of the test's"
        ways = self.ways or min(2 * ctx.episode.ways, ctx.classes("source"))
        return Episodes("source", ways, self.shots or ctx.episode.shots, self.queries, self.episodes)


def _square(dims: tuple[int, ...]) -> bool:
    return len(dims) == 3 and dims[1] == dims[2]
