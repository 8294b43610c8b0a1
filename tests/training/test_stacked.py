"""A stacked tensor gives each member what it has alone, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench.functional import reverse_gradient
from tlbench.training.stacked import Refused, Stacked, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable

K = 3
X, Z = torch.rand(K, 5, 4) + 0.1, torch.randn(K, 5, 4)
W, B = torch.randn(K, 2, 4), torch.randn(K, 2)
Y, SHARES = torch.randint(4, (K, 5)), torch.rand(K, 5, 4).softmax(-1)
LAYER = torch.randn(3, 4)

KNOWN: dict[str, Callable[..., Any]] = {
    "x + 1": lambda x, z, w, b, y, s: x + 1,
    "1 - x": lambda x, z, w, b, y, s: 1 - x,
    "2 / x": lambda x, z, w, b, y, s: 2 / x,
    "x * z / 3": lambda x, z, w, b, y, s: x * z / 3,
    "x - b of fewer axes": lambda x, z, w, b, y, s: x - b.sum() - x.sum(0),
    "z + a number of each member": lambda x, z, w, b, y, s: z + b.sum(),
    "zeros + x": lambda x, z, w, b, y, s: torch.zeros(()) + x,
    "a constant vector": lambda x, z, w, b, y, s: x * torch.arange(4.0),
    "sum of several": lambda x, z, w, b, y, s: sum((t.square().sum() for t in (w, b)), torch.zeros(())),
    "pow, abs, neg, sqrt": lambda x, z, w, b, y, s: -(x**2).abs().sqrt(),
    "log, exp, tanh, sigmoid": lambda x, z, w, b, y, s: torch.tanh(x.log()) + torch.exp(z).sigmoid(),
    "activations": lambda x, z, w, b, y, s: F.relu(z) + F.gelu(z) + F.silu(z) + F.leaky_relu(z) + F.logsigmoid(z),
    "clamp, maximum": lambda x, z, w, b, y, s: torch.maximum(z.clamp(min=-0.5, max=0.5), x),
    "mean over axes": lambda x, z, w, b, y, s: z.mean(0) + z.mean(dim=(0, 1)) + z.sum(-1, keepdim=True).mean(),
    "softmax": lambda x, z, w, b, y, s: z.softmax(1) + F.log_softmax(z, dim=-1) + F.softmax(z, 0),
    "shapes": lambda x, z, w, b, y, s: z.flatten().reshape(z.shape[1], z.size(0)).view(-1, 2).flatten(0) * len(x),
    "linear": lambda x, z, w, b, y, s: F.linear(x, w, b) + F.linear(z, w),
    "linear with more axes": lambda x, z, w, b, y, s: F.linear(x.reshape(5, 1, 4), w, b),
    "products": lambda x, z, w, b, y, s: x @ z.reshape(4, 5) @ x @ LAYER.T,
    "cross-entropy": lambda x, z, w, b, y, s: F.cross_entropy(z, y) + F.cross_entropy(z, s, label_smoothing=0.1),
    "cross-entropy without a class": lambda x, z, w, b, y, s: F.cross_entropy(z, y, ignore_index=int(Y[0, 0])),
    "squared error": lambda x, z, w, b, y, s: F.mse_loss(x, z) + F.binary_cross_entropy_with_logits(z, s),
    "modules": lambda x, z, w, b, y, s: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Tanh(), nn.GELU())(z).detach(),
}


@pytest.mark.parametrize("name", KNOWN)
def test_each_member_gets_what_it_has_alone_and_its_own_gradient(name: str) -> None:
    stacks = [t.clone().requires_grad_(t.is_floating_point()) for t in (X, Z, W, B, Y, SHARES)]
    alone = [[t[k].detach().clone().requires_grad_(t.is_floating_point()) for t in stacks] for k in range(K)]
    found = KNOWN[name](*map(Stacked, stacks))
    own = [KNOWN[name](*members) for members in alone]
    assert found.shape == own[0].shape
    torch.testing.assert_close(stack_of(found), torch.stack(own))
    if not own[0].requires_grad:
        return
    stack_of(found).sum().backward()  # type: ignore[no-untyped-call]
    for k in range(K):
        own[k].sum().backward()
        for stack, member in zip(stacks, alone[k], strict=True):
            if member.grad is not None:
                assert stack.grad is not None
                torch.testing.assert_close(stack.grad[k], member.grad)


def in_no_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x + 1


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "an operation that is not known": lambda x: F.dropout(x),
    "normalisation over the batch": lambda x: nn.BatchNorm1d(4)(x),
    "a look at a value": lambda x: x.sum().item(),
    "a decision": lambda x: bool(x.sum() > 0),
    "an array": lambda x: x.detach().numpy(),
    "the data itself": lambda x: x.data,
    "something in place": lambda x: x.add_(1),
    "an activation in place": lambda x: F.relu(x, inplace=True),
    "rows": lambda x: x[0],
    "members side by side": lambda x: torch.cat([x, x]),
    "a tensor with more axes": lambda x: x + torch.zeros(2, 5, 4),
    "a gradient of one's own": lambda x: reverse_gradient(x, 1.0),
    "no gradients": in_no_grad,
    "weighted classes": lambda x: F.cross_entropy(x, x.softmax(1), weight=torch.ones(4)),
    "a sum for a mean": lambda x: F.mse_loss(x, x, reduction="sum"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_could_mix_members_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        REFUSED[name](Stacked(torch.randn(K, 5, 4)))


def test_labels_that_are_left_out_count_in_no_mean() -> None:
    y = Y.clone()
    y[0, :2], y[1] = -100, 1
    found = F.cross_entropy(Stacked(Z), Stacked(y))
    torch.testing.assert_close(stack_of(found), torch.stack([F.cross_entropy(Z[k], y[k]) for k in range(K)]))
