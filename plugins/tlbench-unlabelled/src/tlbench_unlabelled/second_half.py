"""The second half of self-taught learning: a softmax layer on what was learned without labels, then fine-tuning.

Dimension key:  N examples  B batch  D features  C classes
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import Group
from tlbench.functional import supervised

if TYPE_CHECKING:
    from tlbench import Context, Fitted, Shape

Then = Literal["softmax", "fine-tune"]
"""What is done with the labelled target: a softmax layer on the frozen features, or all weights from there on."""

ABSENT = -1e4
"""Score of a class that no training example has."""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A trained network as a backbone: ``ctx.using(Pretrained(net))`` is the trial with it in the backbone's place."""

    name: ClassVar[str] = "pretrained"

    net: nn.Module = field(repr=False)
    pretrained_on: str = "source_unlabelled"

    def load(self, shape: Shape, *, pretrained: bool = True) -> nn.Module:
        """A copy of the network, whatever is asked for."""
        return copy.deepcopy(self.net)


class Layer(NamedTuple):
    """A softmax layer: scores = x @ weight.T + bias, weight [C, D] and bias [C]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x_BD: Tensor) -> Tensor:
        return x_BD.float() @ self.weight.T + self.bias


def softmax(x_ND: Tensor, y_N: Tensor, num_classes: int, strength: float) -> Layer:
    """Softmax regression by L-BFGS: min sum CE(W x' + b) + ||W||^2 / (2 strength), with x' centred and scaled by one
    number so that a feature's variance is 1 on the mean; given back as a layer for x itself (scikit-learn).

    One number and not one for each feature: fine-tuning starts here, and must not start from a feature that hardly
    varies blown up by a large weight.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = x_ND.cpu().double().numpy(), y_N.cpu().numpy()
    mean_D, scale = x.mean(0), float(np.sqrt(x.var(0).mean())) or 1.0
    weight_CD, bias_C = np.zeros((num_classes, x.shape[1])), np.full(num_classes, ABSENT)
    present = np.unique(y)
    if len(present) == 1:
        bias_C[present] = 0.0
    else:
        found = LogisticRegression(C=strength, max_iter=5000).fit((x - mean_D) / scale, y)
        coef, intercept = found.coef_, found.intercept_
        if len(present) == 2:  # scikit-learn keeps one row: the log-odds of the second class
            coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        weight_CD[present] = coef / scale
        bias_C[present] = intercept - coef @ mean_D / scale
    return Layer(*(torch.from_numpy(part).float().to(x_ND.device) for part in (weight_CD, bias_C)))


def softmax_then(ctx: Context, net: nn.Module, then: Then, *, strength: float, lr: float) -> Fitted:
    """The labelled half with a network that was trained without labels.

    The softmax layer is solved for, not trained, so fine-tuning has the recipe's whole budget, as ``scratch`` has.
    """
    carried = ctx.using(Pretrained(net))
    known, model = carried.features("target"), carried.classifier()
    layer = softmax(known.x, known.y, ctx.num_classes, strength)
    with torch.no_grad():
        model.head.weight.copy_(layer.weight)
        model.head.bias.copy_(layer.bias)
    if then == "fine-tune":
        ctx.train(supervised(model), update=Group(model, lr=lr))
    fitted: Fitted = model
    return fitted


def require_second_half(strength: float, lr: float) -> None:
    """Raise ``ValueError`` where a parameter of the second half is out of its range."""
    for name, value in (("strength", strength), ("lr", lr)):
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")


def require_pretraining(pretrain_steps: int | None, pretrain_lr: float) -> None:
    """Raise ``ValueError`` where a parameter of the pre-training is out of its range."""
    if pretrain_steps is not None and pretrain_steps < 1:
        raise ValueError(f"pretrain_steps must be at least 1, got {pretrain_steps}")
    if pretrain_lr <= 0:
        raise ValueError(f"pretrain_lr must be positive, got {pretrain_lr}")


def one_tensor(x: Any, who: str) -> Tensor:
    """The inputs, which must be one tensor. Raises ``TrialError`` where they are several."""
    from tlbench import TrialError

    if not isinstance(x, Tensor):
        raise TrialError(f"{who} takes one tensor of inputs; these examples have several: {', '.join(x)}")
    return x
