"""Self-taught clustering: target and source are co-clustered with their features, which have one clustering for both.

Dimension key:  X target examples  Y source examples  Z features  B batch; K, L, M clusters of target, source, features;
R rows and D columns of any table, C clusters of its rows
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch

from tlbench import TrialError
from tlbench_unlabelled.second_half import one_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tlbench import Context, Fitted, Start

    Array = NDArray[Any]

NEVER = -1e6
"""Stands for log 0: what is never found in a cluster keeps an example that has it out."""
SMOOTHING = 1e-3
"""Share of the features' overall distribution in a cluster's, where unseen examples are scored."""


class Clusters(NamedTuple):
    """The cluster of each target example [X], source example [Y] and feature [Z]."""

    target: Array
    source: Array
    features: Array


def joint(counts_RD: Array) -> Array:
    """The joint distribution p(r, d) of a table of counts. Raises ``TrialError`` where all are 0."""
    total = counts_RD.sum()
    if not total > 0:
        raise TrialError("self-taught-clustering takes counts; these are all 0")
    found: Array = counts_RD / total
    return found


def mutual_information(p_AB: Array) -> float:
    """I(A, B) = sum p(a, b) log (p(a, b) / (p(a) p(b))) of a joint distribution, in nats."""
    independent_AB = p_AB.sum(1, keepdims=True) * p_AB.sum(0, keepdims=True)
    some = p_AB > 0
    return float((p_AB[some] * np.log(p_AB[some] / independent_AB[some])).sum())


def merged(p_RD: Array, rows: Array, count: int) -> Array:
    """p(c, d) [C, D]: the sum of p(r, d) over the rows r of each cluster c."""
    found = np.zeros((count, p_RD.shape[1]))
    np.add.at(found, rows, p_RD)
    return found


def objective(p_XZ: Array, q_YZ: Array, found: Clusters, sizes: tuple[int, int, int], weight: float) -> float:
    """[I(X, Z) - I(X~, Z~)] + weight [I(Y, Z) - I(Y~, Z~)] (Dai et al. 2008, eq. 2), never negative."""
    p_KM = merged(merged(p_XZ, found.target, sizes[0]).T, found.features, sizes[2])
    q_LM = merged(merged(q_YZ, found.source, sizes[1]).T, found.features, sizes[2])
    lost_target = mutual_information(p_XZ) - mutual_information(p_KM)
    return lost_target + weight * (mutual_information(q_YZ) - mutual_information(q_LM))


def reassigned(tables: Sequence[tuple[float, Array]], rows: Array, count: int) -> Array:
    """Each row r to the cluster c of least sum over tables (w, p) of w p(r) D(p(. | r) || p(. | c)), D that of Kullback
    and Leibler.

    With one table of examples by feature clusters this is Dai et al.'s update of an example's cluster (their theorem's
    D(p(Z | x) || p~(Z | x~)) differs by what is the same for all clusters); with two, of features by clusters of target
    and of source, that of a feature's cluster. No such update raises the objective. Nor does it when a cluster that ran
    empty gets the row that fits its own cluster worst.
    """
    cost_RC = np.zeros((len(rows), count))
    for weight, p_RD in tables:
        own_R1 = (p_RD * _log(_conditional(p_RD))).sum(1, keepdims=True)
        cost_RC += weight * (own_R1 - p_RD @ _log(_conditional(merged(p_RD, rows, count))).T)
    found: Array = cost_RC.argmin(1)
    for empty in np.setdiff1d(np.arange(count), found):
        misfit_R = cost_RC[np.arange(len(found)), found]
        alone = np.bincount(found, minlength=count)[found] == 1
        found[np.where(alone, -np.inf, misfit_R).argmax()] = empty
    return found


def co_cluster(
    p_XZ: Array, q_YZ: Array, sizes: tuple[int, int, int], weight: float, rounds: int = 100, seed: int | None = None
) -> tuple[Clusters, list[float]]:
    """Clusters that no update improves, and the objective after each round (Dai et al. 2008, algorithm 1).

    ``sizes`` are the numbers of clusters of target, source and features. It begins from a random partition, or where
    ``seed`` is ``None`` from k-means on the square roots of the rows' distributions.
    """
    both_ZR = np.concatenate([p_XZ, weight * q_YZ]).T
    x, y, z = (_begin(p, n, seed) for p, n in zip((p_XZ, q_YZ, both_ZR), sizes, strict=True))
    values = [objective(p_XZ, q_YZ, Clusters(x, y, z), sizes, weight)]
    for _ in range(rounds):
        x = reassigned([(1.0, merged(p_XZ.T, z, sizes[2]).T)], x, sizes[0])
        y = reassigned([(1.0, merged(q_YZ.T, z, sizes[2]).T)], y, sizes[1])
        z = reassigned([(1.0, merged(p_XZ, x, sizes[0]).T), (weight, merged(q_YZ, y, sizes[1]).T)], z, sizes[2])
        values.append(objective(p_XZ, q_YZ, Clusters(x, y, z), sizes, weight))
        if values[-1] >= values[-2] - 1e-12:
            break
    return Clusters(x, y, z), values


def _begin(p_RD: Array, count: int, seed: int | None) -> Array:
    """Clusters of rows to begin with."""
    from sklearn.cluster import KMeans

    if seed is not None:
        drawn: Array = np.random.default_rng([seed, count, len(p_RD)]).integers(count, size=len(p_RD))
        return drawn
    found: Array = KMeans(count, n_init=1, random_state=0).fit(np.sqrt(_conditional(p_RD))).labels_
    return found


def _conditional(p_RD: Array) -> Array:
    """p(d | r) of a joint distribution; zeros for a row that has none."""
    total_R1 = p_RD.sum(1, keepdims=True)
    found: Array = np.divide(p_RD, total_R1, out=np.zeros_like(p_RD), where=total_R1 > 0)
    return found


def _log(p: Array) -> Array:
    found: Array = np.log(p, out=np.full_like(p, NEVER), where=p > 0)
    return found


@dataclass(frozen=True)
class SelfTaughtClustering:
    """Information-theoretic co-clustering of target and source with shared feature clusters (Dai et al. 2008).

    Minimises [I(X, Z) - I(X~, Z~)] + weight [I(Y, Z) - I(Y~, Z~)] over clusters of the target X, the source Y and their
    common features Z, by turns; an unseen example goes to the cluster of least D(p(Z~ | x) || p(Z~ | x~)). For counts,
    such as of words or of visual words; the ink of pixels will do. Nothing is trained by gradient.
    Numbers of clusters of target and source are those of their classes, which is an oracle.
    Departure: the best of ``n_init`` starts is kept; the first is not random but k-means on the square roots of shares.
    """

    name: ClassVar[str] = "self-taught-clustering"
    needs: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target_unlabelled"})
    start: ClassVar[Start] = "weights"

    weight: float = 1.0
    """Weight of the source's loss of information, lambda; 0 for co-clustering of the target alone."""
    feature_clusters: int = 32
    """Clusters of features; at most as many as there are features."""
    of: Literal["inputs", "features"] = "inputs"
    """Whether inputs are counted (images: grey values from 0 to 1), or what the backbone makes of them."""
    negative: Literal["refuse", "split"] = "refuse"
    """What is done about negative numbers, which are no counts: split makes two features, max(x, 0) and max(-x, 0)."""
    n_init: int = 5
    """Starts, of which the one of least loss is kept."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")
        for name in ("feature_clusters", "n_init"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def fit(self, ctx: Context) -> Fitted:
        counts = self._counter(ctx)
        p_XZ, q_YZ = (joint(counts(ctx.inputs(pool).x)) for pool in ("target_unlabelled", "source_unlabelled"))
        sizes = (ctx.num_classes, ctx.classes("source_unlabelled"), min(self.feature_clusters, p_XZ.shape[1]))
        starts = [None, *(int(ctx.rng.integers(2**31)) for _ in range(self.n_init - 1))]
        found, values = min(
            (co_cluster(p_XZ, q_YZ, sizes, self.weight, seed=s) for s in starts), key=lambda f: f[1][-1]
        )
        ctx.report("objective", values[-1])

        of_feature_Z = found.features
        p_MK = merged(merged(p_XZ, found.target, sizes[0]).T, of_feature_Z, sizes[2])
        overall_M = p_MK.sum(1)
        log_KM = _log((1 - SMOOTHING) * _conditional(p_MK.T) + SMOOTHING * overall_M)

        def predict(x: Any) -> torch.Tensor:
            shares_BM = merged(_conditional(counts(x)).T, of_feature_Z, sizes[2]).T
            return torch.from_numpy(shares_BM @ log_KM.T).float().to(x.device)

        return predict

    def _counter(self, ctx: Context) -> Callable[[Any], Array]:
        """Inputs [B, ...] -> counts [B, Z], as the parameters say."""
        net = ctx.backbone().eval()
        slope, offset = torch.ones(()), torch.zeros(())
        if self.of == "inputs" and net.transform is not None:  # back to grey values
            slope, offset = (torch.tensor(v)[:, None, None] for v in (net.transform.std, net.transform.mean))

        def count(x: Any) -> Array:
            with torch.no_grad():
                x_B = net(x) if self.of == "features" else one_tensor(x, self.name)
                counts_BZ = (x_B * slope.to(x_B.device) + offset.to(x_B.device)).flatten(1).double().cpu().numpy()
            if self.negative == "split":
                return np.concatenate([counts_BZ.clip(min=0), (-counts_BZ).clip(min=0)], 1)
            if counts_BZ.min() < -1e-6:
                raise TrialError(
                    f"{self.name} takes counts, and there are negative numbers ({counts_BZ.min():.3g}); "
                    "say negative: split to make two features of each"
                )
            found: Array = counts_BZ.clip(min=0)
            return found

        return count
