"""TrAdaBoost: boosting that turns up the target's errors and turns down the source examples that contradict it.

Dimension key:  S source examples  T target examples  N all of them  D features  C classes  R rounds  B batch
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil, log, sqrt
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import torch

from tlbench import SkipTrial
from tlbench_instances.learners import Learner, Rule, weighted_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from tlbench import Context, Fitted
    from tlbench_instances.spaces import Array

SMALLEST_ERROR = 1e-3
"""Errors count as this at least: for a rule without error on the target, beta_t would be 0 and the vote infinite."""


class Boosted(NamedTuple):
    """The rules that vote, ln(1 / beta_t) of each, and the source's share of all weight before each round [R]."""

    rules: Sequence[Rule]
    votes: Array
    source_share: Array


def source_factor(num_source: int, rounds: int) -> float:
    """beta = 1 / (1 + sqrt(2 ln S / R)): what a source example's weight is multiplied by when it is got wrong."""
    return 1 / (1 + sqrt(2 * log(num_source) / rounds))


def target_factor(error: float) -> float:
    """beta_t = error / (1 - error), in (0, 1]; no better than guessing counts as guessing (1: no vote, no change)."""
    error = min(max(error, SMALLEST_ERROR), 0.5)
    return error / (1 - error)


def boost(
    learn: Callable[[Array, Array, Array], Rule], x_ND: Array, y_N: Array, num_source: int, rounds: int, weight_N: Array
) -> Boosted:
    """The algorithm of Dai et al. 2007; y is 0 or 1, and the first ``num_source`` examples are the source's.

    ``learn(x, y, weight)`` makes a rule; errors are hard: |h_t(x) - c(x)| is 0 or 1.
    """
    rules, votes, shares = [], [], []
    beta, of_source = source_factor(num_source, rounds), np.arange(len(y_N)) < num_source
    for _ in range(rounds):
        weight_N = weight_N / weight_N.sum()  # p^t
        shares.append(weight_N[of_source].sum())
        rule = learn(x_ND, y_N, weight_N)
        wrong_N = np.abs(rule(x_ND) - y_N)
        beta_t = target_factor(float(weight_N[~of_source] @ wrong_N[~of_source] / weight_N[~of_source].sum()))
        weight_N = weight_N * np.where(of_source, beta**wrong_N, beta_t**-wrong_N)
        rules.append(rule)
        votes.append(-log(beta_t))
    first = ceil(rounds / 2) - 1  # the paper counts rounds from 1 and takes t = ceil(R / 2), ..., R
    return Boosted(rules[first:], np.array(votes[first:]), np.array(shares))


def margin(boosted: Boosted, x_BD: Array) -> Array:
    """sum_t ln(1 / beta_t) (h_t(x) - 1/2), over its largest possible value: in [-1, 1]; the answer is 1 from 0 on.

    This is the logarithm of the paper's rule: prod_t beta_t^(-h_t(x)) >= prod_t beta_t^(-1/2). No vote at all gives 0.
    """
    total = sum((vote * (rule(x_BD) - 0.5) for rule, vote in zip(boosted.rules, boosted.votes, strict=True)), 0.0)
    size = boosted.votes.sum() / 2
    return np.broadcast_to(total / size if size > 0 else 0.0, len(x_BD))


@dataclass(frozen=True)
class TrAdaBoost:
    """Boosting for transfer on frozen features (Dai, Yang, Xue & Yu 2007), with hard errors.

    In each round a rule is learnt from both domains; the target examples that it gets wrong gain weight, as in
    AdaBoost, and the source examples that it gets wrong lose weight, because they may be of another kind. The rules of
    the second half of the rounds vote. With ``rounds: 1`` it is the base learner on both domains together.

    Departures. An error of 0 counts as 0.001, for its vote would be infinite; an error of 1/2 or more, which the paper
    excludes, counts as 1/2: the rule has no vote, and the target's weights stay. More than two classes, which the
    paper does not treat, are one boosting for each class against the rest, and the largest margin answers.
    Takes no gradient step: its learning curve is one point. Records ``source_share``, the source's share of all weight
    at the last round (the mean over classes), which goes to nothing when there are many rounds.
    """

    name: ClassVar[str] = "tradaboost"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target", "same_classes"})

    rounds: int = 100
    """How many rules are learnt; the paper has 100."""
    learner: Learner = "linear-svm"
    """What learns a rule; the paper has linear support vector machines."""
    strength: float = 1.0
    """C of the support vector machine or of the logistic regression, for weights that sum to one; boosting needs a
    learner that still makes errors, and with a large C there are none to learn from."""
    balance: bool = True
    """Whether the learner sees both classes with the same total weight, as the paper's support vector machine does."""
    initial: Literal["equal", "domains"] = "domains"
    """First weights: all examples alike, or both domains alike in total; the paper leaves it to the user. From equal
    ones a large source makes rules that are no better than guessing on the target, and those have no vote."""
    standardise: bool = True
    """Whether features are brought to mean 0 and variance 1 over both domains."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if not self.strength > 0:
            raise ValueError(f"strength must be positive, got {self.strength}")

    def fit(self, ctx: Context) -> Fitted:
        if ctx.classes("source") != ctx.num_classes:
            raise SkipTrial(
                f"tradaboost needs the same classes in both domains; the source has {ctx.classes('source')}, "
                f"the target {ctx.num_classes}"
            )
        source, target = ctx.features("source"), ctx.features("target")
        x_ND = torch.cat([source.x, target.x]).cpu().numpy().astype(np.float64)
        y_N = torch.cat([source.y, target.y]).cpu().numpy()
        mean_D, std_D = (x_ND.mean(0), x_ND.std(0)) if self.standardise else (0.0, np.ones(x_ND.shape[1]))
        std_D[std_D == 0] = 1
        weight_N = np.ones(len(y_N))
        if self.initial == "domains":
            weight_N = np.repeat([1 / len(source), 1 / len(target)], [len(source), len(target)])
        learn = partial(weighted_rule, self.learner, strength=self.strength, balance=self.balance)
        wanted = [1] if ctx.num_classes == 2 else range(ctx.num_classes)
        machines = [
            boost(learn, (x_ND - mean_D) / std_D, (y_N == c).astype(np.float64), len(source), self.rounds, weight_N)
            for c in wanted
        ]
        ctx.report("source_share", float(np.mean([m.source_share[-1] for m in machines])))

        def score(x_BD: Tensor) -> Tensor:
            x = (x_BD.cpu().numpy().astype(np.float64) - mean_D) / std_D
            margin_BC = np.stack([margin(machine, x) for machine in machines], axis=1)
            if len(machines) == 1:
                side = np.where(margin_BC >= 0, np.maximum(margin_BC, 1e-6), margin_BC)  # 0 is for class 1
                margin_BC = np.concatenate([-side, side], axis=1)
            return torch.from_numpy(margin_BC).float().to(x_BD.device)

        return ctx.on_features(score)
