"""The trained weights of several seeds, stacked, and what stands for them in a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tlbench.api.types import Group
from tlbench.training.optim import modules_of
from tlbench.training.stacked import Refused, Stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 1 << 30
"""Bytes of constant tensors, such as frozen weights, that are stacked at most."""


class Weights:
    """The trained weights of K seeds, stacked, in groups as the first seed has them.

    Matrices and vectors lie as linear layers take them: [K, D, C] and [K, 1, C].
    """

    def __init__(self, stacked: list[nn.Parameter], members: list[list[nn.Parameter]], groups: list[Group]) -> None:
        self.stacked, self.members, self.groups = stacked, members, groups
        self.shapes = [list(p.shape) for p in members[0]]
        self._wrapped = {
            tuple(map(id, theirs)): _standing_for(p, theirs[0].dim())
            for p, *theirs in zip(stacked, *members, strict=True)
        }
        self._trained = {id(p) for mine in members for p in mine}
        self._places = {_place(p) for mine in members for p in mine}
        self._bytes = 0

    @classmethod
    def of(cls, groups: Sequence[Sequence[Group]]) -> Weights:
        """``groups``: of each seed. Raises ``Refused`` where they differ."""
        holders: list[Group] = []
        known: dict[tuple[int, ...], tuple[nn.Parameter, list[nn.Parameter]]] = {}
        if any(len(g) != len(groups[0]) for g in groups):
            raise Refused("they update other modules")
        for alike in zip(*groups, strict=True):
            first = alike[0]
            if any((g.lr, g.weight_decay) != (first.lr, first.weight_decay) for g in alike):
                raise Refused("they update at other rates")
            lists = [[p for m in modules_of(g) for p in m.parameters()] for g in alike]
            if any(len(mine) != len(lists[0]) for mine in lists):
                raise Refused("they update other modules")
            holder = nn.Module()
            for theirs in zip(*lists, strict=True):
                if any(p.requires_grad != theirs[0].requires_grad or not _like(p, theirs[0]) for p in theirs):
                    raise Refused("their weights differ in shape")
                if not theirs[0].requires_grad:
                    continue
                key = tuple(map(id, theirs))
                if key not in known:
                    known[key] = nn.Parameter(_laid(torch.stack([p.detach() for p in theirs]))), list(theirs)
                name = str(len(holder._parameters))
                holder.register_parameter(name, known[key][0])
            holders.append(Group(holder, first.lr, first.weight_decay))
        members = [list(mine) for mine in zip(*(theirs for _, theirs in known.values()), strict=True)]
        if not members or any(len({id(p) for p in mine}) != len(mine) for mine in members):
            raise Refused("they share weights in other ways")
        if not all(p.is_floating_point() for p in members[0]):
            raise Refused("weights that are not real numbers")
        return cls([p for p, _ in known.values()], members, holders)

    def leaf(self, tensors: Sequence[Tensor]) -> Stacked:
        """What stands for K tensors in a loss: their trained weight, or else a constant."""
        if (known := self._wrapped.get(tuple(map(id, tensors)))) is not None:
            return known
        if any(id(t) in self._trained or _place(t) in self._places for t in tensors):
            raise Refused("the loss holds part of a trained weight")
        if any(not _like(t, tensors[0]) or t.layout != torch.strided or not t.is_leaf for t in tensors):
            raise Refused("the loss holds tensors that differ in shape, or that were computed from weights")
        self._bytes += sum(t.numel() * t.element_size() for t in tensors)
        if self._bytes > LARGEST:
            raise Refused("the loss holds more than can be stacked")
        return Stacked(torch.stack([t.detach() for t in tensors]))

    def hand_out(self) -> None:
        """Bring each seed's own modules up to date."""
        with torch.no_grad():
            for k, mine in enumerate(self.members):
                for own, stacked in zip(mine, self.stacked, strict=True):
                    own.copy_(part_of(stacked, own, k))


def part_of(laid: Tensor, own: Tensor, k: int) -> Tensor:
    """Of a stacked weight, or of something that lies as it does, what is one seed's, in the shape of ``own``."""
    return laid[k].T if own.dim() == 2 else laid[k].view(own.shape)


def _laid(stack: Tensor) -> Tensor:
    if stack.dim() == 3:
        return stack.transpose(1, 2).contiguous()
    return stack.unsqueeze(1) if stack.dim() == 2 else stack


def _standing_for(weight: nn.Parameter, axes: int) -> Stacked:
    """What a loss sees of a weight whose members have so many axes."""
    if axes not in (1, 2):
        return Stacked(weight)
    found = Stacked(weight.detach().transpose(1, 2) if axes == 2 else weight.detach().squeeze(1))
    found.turned = weight
    return found


def _like(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)
