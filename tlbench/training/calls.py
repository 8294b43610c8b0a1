"""Calls: what a loss is called with, held against what it takes before the first step."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from tlbench.errors import TrialError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.types import Turn


def require_takes(turns: Sequence[Turn]) -> None:
    """Raise ``TrialError`` for a loss that cannot be called with a batch of each pool and the step.

    What does not say what it takes, as some built-in functions, is not refused.
    """
    for turn in turns:
        try:
            # As it stands: what a decorator wraps may be given more, or less, than the decorator's own function.
            takes = inspect.signature(turn.loss, follow_wrapped=False)
        except (TypeError, ValueError):
            continue
        given = [_word(name if isinstance(name, str) else name.pool) for name in turn.on]
        try:
            takes.bind(*given, "step")
        except TypeError as error:
            called = getattr(turn.loss, "__name__", type(turn.loss).__name__)
            said = ", ".join(repr(name) if isinstance(name, str) else repr(name.pool) for name in turn.on)
            raise TrialError(
                f"the loss {called}{_shown(takes)} cannot be called with a batch of each pool in on=[{said}] and then "
                f"the step ({error}): write it as {called}({', '.join([*given, 'step'])}), or name other pools in `on`"
            ) from error


def _word(pool: str) -> str:
    return pool if pool.isidentifier() else "batch"


def _shown(takes: inspect.Signature) -> str:
    """The parameters without their types, which say nothing of how many there are."""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in takes.parameters.values()]
    return str(takes.replace(parameters=plain, return_annotation=inspect.Signature.empty))
