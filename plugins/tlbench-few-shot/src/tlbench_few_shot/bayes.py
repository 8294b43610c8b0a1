"""Bayesian one-shot: what other classes look like is the prior of a new one.

A class is a normal distribution of features, and the conjugate prior over such classes, a normal-inverse-Wishart,
is fitted on the source's classes. Then everything has a closed form.

Dimension key:  E episodes  B examples  N support examples  K of one class  Q queries  D features  C classes
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma, log, pi
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from tlbench import TrialError
from tlbench_few_shot.adapted import OnFeatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench import Context, Fitted

LOOSEST, TIGHTEST = 4.0, 1e4
"""Range of nu - D, for spreads of the classes' variances that no normal-inverse-Wishart has."""


class NormalInverseWishart(NamedTuple):
    """Sigma ~ IW(nu, scatter), mu | Sigma ~ N(mean, Sigma / kappa); ``mean`` [D], ``scatter`` [D, D], nu > D - 1.

    Of one class in E episodes ``mean`` is [E, D] and ``scatter`` [E, D, D]; it has as many examples in each.
    """

    mean: Tensor
    kappa: float
    nu: float
    scatter: Tensor


def posterior(prior: NormalInverseWishart, x_KD: Tensor) -> NormalInverseWishart:
    """After K examples of the class (Murphy 2012, sec. 4.6.3), or after [E, K, D]; the prior itself for K = 0."""
    k, (m0, kappa0, nu0, s0) = x_KD.shape[-2], prior
    if k == 0:
        return prior
    mean = x_KD.mean(-2)
    kappa = kappa0 + k
    rest = x_KD - mean.unsqueeze(-2)
    within = rest.mT @ rest
    moved = (mean - m0).unsqueeze(-1) * (mean - m0).unsqueeze(-2) * (kappa0 * k / kappa)
    return NormalInverseWishart((kappa0 * m0 + k * mean) / kappa, kappa, nu0 + k, s0 + within + moved)


def log_predictive(belief: NormalInverseWishart, x_BD: Tensor) -> Tensor:
    """log p(x) [B], or [E, B] of x [E, B, D], of new examples: Student's t with nu - D + 1 degrees of freedom, location
    ``mean`` and scale matrix scatter (kappa + 1) / (kappa (nu - D + 1)) (Murphy 2012, sec. 4.6.3)."""
    m, kappa, nu, scatter = belief
    d = m.shape[-1]
    freedom = nu - d + 1
    root = torch.linalg.cholesky(scatter * ((kappa + 1) / (kappa * freedom)))
    far_B = torch.linalg.solve_triangular(root, (x_BD - m.unsqueeze(-2)).mT, upper=False).square().sum(-2)
    constant = lgamma((freedom + d) / 2) - lgamma(freedom / 2) - d / 2 * log(freedom * pi)
    height = constant - root.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
    density_B: Tensor = height - (freedom + d) / 2 * torch.log1p(far_B / freedom)
    return density_B


def fit_prior(x_BD: Tensor, y_B: Tensor, shrinkage: float) -> NormalInverseWishart:
    """The prior whose moments are those of the given classes.

    E[Sigma] = scatter / (nu - D - 1) is the pooled within-class covariance W, its off-diagonal shrunk;
    Cov[mu] = Sigma / kappa gives kappa, from the trace of the means' covariance in units of W, less the D / n that
    the means of n examples scatter by themselves; and the spread of the classes' variances about their mean, less
    what n examples cause, gives nu by Var[s] / E[s]^2 = 2 / (nu - D - 3).
    """
    classes, counts = torch.unique(y_B, return_counts=True)
    if len(classes) < 2 or int(counts.max()) < 2:
        raise TrialError(
            "bayes-one-shot needs a source of two classes or more, with two examples or more in some class"
        )
    groups = [x_BD[y_B == c] for c in classes]
    means_CD = torch.stack([g.mean(0) for g in groups])
    d = x_BD.shape[1]
    rest_BD = torch.cat([g - g.mean(0) for g in groups])
    within = rest_BD.T @ rest_BD / (len(x_BD) - len(classes))
    within = (1 - shrinkage) * within + shrinkage * torch.diag(within.diagonal())
    root = torch.linalg.cholesky(within)

    white_CD = torch.linalg.solve_triangular(root, (means_CD - means_CD.mean(0)).T, upper=False).T
    between = float(white_CD.square().sum()) / (len(classes) - 1) - d * float((1 / counts).mean())
    kappa = d / max(between, 1e-3 * d)

    spread = [
        torch.linalg.solve_triangular(root, (g - g.mean(0)).T, upper=False).square().sum(1) / (len(g) - 1)
        for g in groups
        if len(g) > 1
    ]
    variances_CD = torch.stack(spread)
    noise = 2 * float((1 / (counts[counts > 1] - 1)).mean())
    if len(variances_CD) > 1:
        relative = float((variances_CD.var(0) / variances_CD.mean(0).square()).mean())
        excess = max((relative - noise) / (1 + noise), 0.0)
    else:
        excess = 0.0
    nu = d + min(max(3 + 2 / max(excess, 1e-12), LOOSEST), TIGHTEST)
    return NormalInverseWishart(means_CD.mean(0), kappa, nu, within * (nu - d - 1))


def principal_axes(x_BD: Tensor, most: int) -> Tensor:
    """The directions [D, d] of most variance, at most ``most`` and none without variance."""
    centred = x_BD - x_BD.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    kept = min(most, int((values > 1e-10 * values[-1]).sum()))
    axes: Tensor = vectors.flip(1)[:, : max(kept, 1)]
    return axes


@dataclass(frozen=True)
class BayesOneShot:
    """Class densities whose prior comes from other classes (Fei-Fei, Fergus & Perona 2006), in conjugate form.

    The paper's point: a few examples suffice where the prior over a class's parameters is learnt from classes seen
    before. Departure: the paper's constellation of parts with a variational posterior is here one normal
    distribution on the frozen features of the source's classifier with its exact posterior; after K examples the
    predictive density of a class is Student's t, and the densities are compared with equal class priors.
    """

    name: ClassVar[str] = "bayes-one-shot"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "episodes"})
    start: ClassVar[Literal["source"]] = "source"

    dims: int = 32
    """Features are projected onto so many principal axes of the source, where there are more."""
    shrinkage: float = 0.1
    """How far correlations within a class are taken back: 0 leaves them, 1 makes the expected covariance diagonal."""

    def __post_init__(self) -> None:
        if self.dims < 1:
            raise ValueError(f"dims must be at least 1, got {self.dims}")
        if not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage must be in [0, 1], got {self.shrinkage}")

    def fit(self, ctx: Context) -> Fitted:
        source = ctx.features("source")
        x_BD = source.x.double()
        axes = principal_axes(x_BD, self.dims)
        prior = fit_prior(x_BD @ axes, source.y, self.shrinkage)
        ctx.report("kappa", prior.kappa)
        ctx.report("nu", prior.nu)

        def rule(support_END: Tensor, y_EN: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
            each = (len(support_END), -1, support_END.shape[-1])
            beliefs = [posterior(prior, support_END[y_EN == c].reshape(each)) for c in range(ways)]
            return lambda query_EQD: torch.stack([log_predictive(b, query_EQD) for b in beliefs], -1)

        return OnFeatures(ctx.backbone(), rule, lambda x_BD: x_BD.double() @ axes)
