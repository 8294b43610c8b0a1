"""From probabilities of attributes to scores of classes: what DAP and IAP share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def attribute_prior(seen_SA: Tensor) -> Tensor:
    """p(a_m) [A]: the share of the seen classes that have attribute m; 1/2 where all have it or none (sec. 3.1)."""
    prior_A = seen_SA.double().mean(0)
    return prior_A.where((prior_A > 0) & (prior_A < 1), prior_A.new_full((), 0.5))


def class_scores(log_yes_BA: Tensor, log_no_BA: Tensor, candidates_CA: Tensor, prior_A: Tensor) -> Tensor:
    """sum_m log p(a_m^z | x) - log p(a_m^z) for each candidate z, [B, C] (Lampert et al. 2009, eq. 2, in logs).

    ``log_yes`` and ``log_no`` are log p(a_m = 1 | x) and log p(a_m = 0 | x); candidates are 0 or 1.
    """
    has_CA = candidates_CA.to(log_yes_BA.dtype)
    return (log_yes_BA - prior_A.log()) @ has_CA.T + (log_no_BA - (1 - prior_A).log()) @ (1 - has_CA).T
