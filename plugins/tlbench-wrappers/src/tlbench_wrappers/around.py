"""What every wrapper takes over from the strategies inside it: the pools that they need and where they start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlbench import TrialError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench import Predictor, Strategy


def needs_of(*inside: Strategy) -> frozenset[str]:
    """Every pool that one of them needs."""
    return frozenset().union(*(s.needs for s in inside))


def uses_of(*inside: Strategy) -> frozenset[str]:
    """Every pool that one of them takes where there is one."""
    return frozenset().union(*(getattr(s, "uses", frozenset()) for s in inside))


def start_of(inside: Sequence[Strategy]) -> Any:
    """Where they start: at the source's model if one of them does, else as the first one says; ``None`` as the task."""
    starts = [getattr(s, "start", None) for s in inside]
    return "source" if "source" in starts else next(iter(starts), None)


def spaces_of(*inside: Strategy) -> str:
    """``any`` where all of them handle source and target of different feature spaces."""
    return "any" if all(getattr(s, "spaces", "same") == "any" for s in inside) else "same"


def target_of(fitted: Any) -> Predictor:
    """The predictor of the target among what ``fit`` returned."""
    predictor: Any = fitted["target"] if isinstance(fitted, dict) else fitted
    if not callable(predictor):
        raise TrialError(
            f"a wrapper chooses between predictors, and a strategy inside gave a {type(fitted).__name__}; "
            "episodic strategies cannot be wrapped so"
        )
    if hasattr(predictor, "eval"):
        predictor.eval()
    return predictor  # type: ignore[no-any-return]
