"""Optimisers and schedules from a recipe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tlbench.api.types import Group, Turn, Update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tlbench.api.recipe import Recipe


def groups_of(update: Update) -> list[Group]:
    """What a training updates, as groups; a bare module is a group at the recipe's own rate."""
    if isinstance(update, Group):
        return [update]
    if isinstance(update, nn.Module):
        return [Group(update)]
    return [g for part in update for g in groups_of(part)]


def modules_of(group: Group) -> list[nn.Module]:
    """The modules of a group."""
    return [group.modules] if isinstance(group.modules, nn.Module) else list(group.modules)


def optimizers_of(turns: Sequence[Turn], recipe: Recipe) -> tuple[list[torch.optim.Optimizer], list[list[int]]]:
    """Optimisers, and for each turn the indices of those that it steps.

    A parameter has one optimiser state however many turns update it: parameters that the same turns
    update share an optimiser. A parameter named twice in a turn keeps the options it was first named with.
    """
    turns_of: dict[nn.Parameter, list[int]] = {}
    options: dict[nn.Parameter, tuple[float, float]] = {}
    for index, turn in enumerate(turns):
        for group in groups_of(turn.update):
            decay = recipe.weight_decay if group.weight_decay is None else group.weight_decay
            for parameter in _trainable(modules_of(group)):
                members = turns_of.setdefault(parameter, [])
                if index not in members:
                    members.append(index)
                options.setdefault(parameter, (group.lr, decay))
    optimizers: list[torch.optim.Optimizer] = []
    stepped: list[list[int]] = [[] for _ in turns]
    for together in dict.fromkeys(tuple(m) for m in turns_of.values()):
        mine = [p for p, m in turns_of.items() if tuple(m) == together]
        groups = [
            {
                "params": [p for p in mine if options[p] == chosen],
                "lr": recipe.lr * chosen[0],
                "weight_decay": chosen[1],
            }
            for chosen in dict.fromkeys(options[p] for p in mine)
        ]
        for turn_index in together:
            stepped[turn_index].append(len(optimizers))
        optimizers.append(_optimizer(groups, recipe))
    return optimizers, stepped


def _trainable(modules: Sequence[nn.Module]) -> Iterator[nn.Parameter]:
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                yield parameter


def _optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    fused = all(p.is_floating_point() for g in groups for p in g["params"])  # one kernel for all parameters
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=fused)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr, fused=fused)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)


def set_rate(group: dict[str, Any], rate: float, device: torch.device) -> None:
    """Give a group a learning rate: a number, or into its tensor.

    On a GPU in float32, which is what a tensor holds, so that both give the same bits.
    """
    if device.type == "cuda":
        rate = float(np.float32(rate))
    held = group["lr"]
    if isinstance(held, torch.Tensor):
        held.fill_(rate)
    else:
        group["lr"] = rate


def schedule_of(recipe: Recipe, total: int) -> Callable[[int], float]:
    """step -> factor of the learning rate: a linear rise over the warm-up, then the recipe's schedule."""
    warmup = round(recipe.warmup * total)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, total - warmup)
        if recipe.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        return 1 - progress if recipe.schedule == "linear" else 1.0

    return factor
