"""Stacked tensors: the same tensor of K members at once, and the operations that are known to keep members apart.

To whoever computes with it, a ``Stacked`` looks like one member's tensor; it holds that of all, ``stack`` [K, ...].
The operations below are carried out for all members in one call. Everything else is refused: a result is either each
member's own, or there is none. So are operations without gradients, in which a gradient of one's own making (a custom
``autograd.Function``) would be lost unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable


class Refused(Exception):
    """These members cannot be trained as one; the message says why."""


class Stacked(Tensor):
    """One tensor for each of K members; its shape is that of a member's, ``stack`` is [K, *shape]."""

    stack: Tensor
    turned: Tensor | None = None
    """A trained matrix as [K, D, C] and a trained vector as [K, 1, C], which is how a linear layer takes them."""
    labels: bool = False
    """Whether all are classes, from 0 on: none is left out of a mean."""

    @staticmethod
    def __new__(cls, stack: Tensor) -> Stacked:
        made: Stacked = torch.Tensor._make_wrapper_subclass(
            cls, stack.shape[1:], dtype=stack.dtype, device=stack.device
        )
        made.stack = stack
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Stacked({list(self.stack.shape)})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        handler = _KNOWN.get(func)
        if handler is None:
            raise Refused(f"{_name(func)} is not known to keep the seeds apart")
        if not torch.is_grad_enabled():
            raise Refused(f"{_name(func)} runs without gradients")
        return handler(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise Refused(f"{func} reached the data of one seed")  # there is none: this tensor has no storage


def stack_of(value: Any) -> Tensor:
    """The tensors of all members [K, ...]. Raises ``Refused`` for what is not stacked."""
    if type(value) is not Stacked:
        raise Refused("a result does not depend on the seeds' own weights and batches")
    if value.turned is not None:  # a new view for each step's graph of gradients
        return value.turned.transpose(1, 2) if value.stack.dim() == 3 else value.turned.squeeze(1)
    return value.stack


# ---- element by element ----------------------------------------------------------------------------


def _operand(value: Any, axes: int) -> Any:
    """``value`` so that its last ``axes`` axes are a member's."""
    if type(value) is Stacked:
        stack = stack_of(value)
        missing = axes + 1 - stack.dim()
        return stack.reshape(len(stack), *[1] * missing, *stack.shape[1:]) if missing else stack
    if isinstance(value, Tensor):  # made inside the loss and of nobody's own: the same for all
        if value.dim() > axes:
            raise Refused("a tensor that is nobody's own has more axes than those of the seeds")
        return value
    if isinstance(value, int | float):
        return value
    raise Refused(f"an operand is a {type(value).__name__}")


def _one(func: Callable[[Tensor], Tensor]) -> Callable[..., Stacked]:
    return lambda x: Stacked(func(stack_of(x)))


def _two(func: Callable[[Any, Any], Tensor]) -> Callable[..., Stacked]:
    def apply(a: Any, b: Any) -> Stacked:
        axes = max(v.stack.dim() - 1 for v in (a, b) if type(v) is Stacked)
        return Stacked(func(_operand(a, axes), _operand(b, axes)))

    return apply


def _new(func: Callable[..., Tensor]) -> Callable[..., Stacked]:
    """An activation, not in place: what it would overwrite may be read again."""

    def apply(x: Any, *args: Any, inplace: bool = False, **named: Any) -> Stacked:
        if inplace or any(isinstance(a, bool | Tensor) for a in (*args, *named.values())):
            raise Refused(f"{_name(func)} in place")
        return Stacked(func(stack_of(x), *args, **named))

    return apply


def _clamp(x: Any, min: float | None = None, max: float | None = None) -> Stacked:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        raise Refused("clamp by a tensor")
    return Stacked(stack_of(x).clamp(min, max))


# ---- over axes -------------------------------------------------------------------------------------


def _axes(stack: Tensor, dim: Any) -> tuple[int, ...]:
    """A member's axes as those of the stack."""
    count = stack.dim() - 1
    found = tuple(range(count)) if dim is None or dim == () else (dim,) if isinstance(dim, int) else tuple(dim)
    if any(not -count <= d < count for d in found):
        raise Refused(f"axis {dim} of a tensor with {count}")
    return tuple(d + 1 if d >= 0 else d for d in found)


def _over(func: Callable[..., Tensor]) -> Callable[..., Stacked]:
    def apply(x: Any, dim: Any = None, keepdim: bool = False) -> Stacked:
        stack = stack_of(x)
        axes = _axes(stack, dim)
        return Stacked(func(stack, axes, keepdim) if axes else stack)

    return apply


def _along(func: Callable[..., Tensor]) -> Callable[..., Stacked]:
    def apply(x: Any, dim: int, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Stacked:
        stack = stack_of(x)
        if dtype is not None:
            raise Refused("a change of precision")
        return Stacked(func(stack, _axes(stack, dim)[0]))

    return apply


def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Stacked:
    stack = stack_of(x)
    return Stacked(stack.flatten(*_axes(stack, (start_dim, end_dim))))


def _reshape(x: Any, *shape: Any) -> Stacked:
    stack = stack_of(x)
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    if not all(isinstance(n, int) for n in sizes):
        raise Refused("a shape that is not numbers")
    return Stacked(stack.reshape(len(stack), *sizes))


# ---- layers and losses -----------------------------------------------------------------------------


def _linear(x: Any, weight: Any, bias: Any = None) -> Stacked:
    """x [B, D], or with more axes before the last; weight [C, D], bias [C]."""
    if type(weight) is not Stacked or (bias is not None and type(bias) is not Stacked):
        raise Refused("a linear layer whose weights are nobody's own")
    x_K, weight_KDC = stack_of(x), stack_of(weight).transpose(1, 2) if weight.turned is None else weight.turned
    if x_K.dim() < 3:
        raise Refused("a linear layer without an axis of examples")
    x_KBD = x_K if x_K.dim() == 3 else x_K.flatten(1, -2)
    if bias is None:
        out = torch.bmm(x_KBD, weight_KDC)
    else:
        bias_K1C = stack_of(bias).unsqueeze(1) if bias.turned is None else bias.turned
        out = torch.baddbmm(bias_K1C, x_KBD, weight_KDC)
    return Stacked(out if x_K.dim() == 3 else out.view(*x_K.shape[:-1], -1))


def _matmul(a: Any, b: Any) -> Stacked:
    for value in (a, b):
        if (value.stack.dim() - 1 if type(value) is Stacked else value.dim()) != 2:
            raise Refused("a product of other than two matrices")
    return Stacked(torch.matmul(*(stack_of(v) if type(v) is Stacked else v for v in (a, b))))


def _cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Stacked:
    scores, y = stack_of(input), stack_of(target)
    plain = weight is None and size_average is None and reduce is None and reduction == "mean"
    if not plain or scores.dim() != 3:
        raise Refused("cross-entropy with weights, sums or further axes")
    each = F.cross_entropy(
        scores.flatten(0, 1),
        y.flatten(0, 1),
        reduction="none",
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    ).view(scores.shape[:2])
    if y.dim() == 3 or (target.labels and ignore_index < 0):  # shares of the classes, or a class for each
        return Stacked(each.mean(1))
    return Stacked(each.sum(1) / (y != ignore_index).sum(1))


def _mean_of(func: Callable[..., Tensor]) -> Callable[..., Stacked]:
    def apply(input: Any, target: Any, *more: Any, reduction: str = "mean", **others: Any) -> Stacked:
        if any(v is not None for v in (*more, *others.values())) or reduction != "mean":
            raise Refused("a loss with weights or sums")
        a, b = stack_of(input), stack_of(target)
        if a.shape != b.shape:
            raise Refused("a loss of tensors of two shapes")
        return Stacked(func(a, b, reduction="none").flatten(1).mean(1))

    return apply


# ---- what is known ---------------------------------------------------------------------------------


def _getter(attribute: str) -> tuple[Any, Callable[..., Any]]:
    getter: Any = getattr(Tensor, attribute).__get__

    def apply(x: Any, *rest: Any) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return getter(x)

    return getter, apply


def _asked(func: Any) -> tuple[Any, Callable[..., Any]]:
    def apply(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    return func, apply


def _name(func: Any) -> str:
    name = str(getattr(func, "__name__", func))
    return str(getattr(getattr(func, "__self__", None), "__name__", name)) if name == "__get__" else name


_UNARY = (
    "sigmoid",
    "tanh",
    "exp",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "abs",
    "neg",
    "square",
    "float",
    "detach",
    "contiguous",
)
_BINARY = ("add", "sub", "mul", "div", "pow", "maximum", "minimum")

_KNOWN: dict[Any, Callable[..., Any]] = {
    **{
        f: _one(getattr(Tensor, n)) for n in _UNARY for f in {getattr(Tensor, n), getattr(torch, n, getattr(Tensor, n))}
    },
    **{f: _two(getattr(torch, n)) for n in _BINARY for f in {getattr(Tensor, n), getattr(torch, n)}},
    Tensor.float: _one(Tensor.float),
    Tensor.__pow__: _two(torch.pow),
    Tensor.__rsub__: _two(lambda a, b: b - a),
    Tensor.__rdiv__: _two(lambda a, b: b / a),
    **dict.fromkeys((F.relu, torch.relu, Tensor.relu), _new(torch.relu)),
    **dict.fromkeys((torch.clamp, Tensor.clamp), _clamp),
    F.gelu: _new(F.gelu),
    F.silu: _new(F.silu),
    F.leaky_relu: _new(F.leaky_relu),
    F.logsigmoid: _one(F.logsigmoid),
    **dict.fromkeys((torch.sum, Tensor.sum), _over(torch.sum)),
    **dict.fromkeys((torch.mean, Tensor.mean), _over(torch.mean)),
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), _along(torch.softmax)),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, Tensor.log_softmax), _along(torch.log_softmax)),
    **dict.fromkeys((torch.flatten, Tensor.flatten), _flatten),
    **dict.fromkeys((torch.reshape, Tensor.reshape, Tensor.view), _reshape),
    **dict.fromkeys((torch.matmul, Tensor.matmul, torch.mm, Tensor.mm), _matmul),
    F.linear: _linear,
    F.cross_entropy: _cross_entropy,
    F.mse_loss: _mean_of(F.mse_loss),
    F.binary_cross_entropy_with_logits: _mean_of(F.binary_cross_entropy_with_logits),
    **dict(_getter(a) for a in ("shape", "ndim", "dtype", "device", "is_cuda")),
    **dict(_asked(f) for f in (Tensor.size, Tensor.dim, Tensor.numel, Tensor.__len__, Tensor.is_floating_point)),
}
