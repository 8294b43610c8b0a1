"""What is wrong with a parameter, in the project's words: what was expected, what was there, and the nearest name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from tlbench.parameters.model import plain, types_of
from tlbench.parameters.text import LISTS, UNIONS, bare, expected_text, options

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Errors of a value that has the right type: pydantic's own words then say more than the type does.
_LIMITS = re.compile(
    "(greater|less)_than(_equal)?|multiple_of|finite_number"
    "|string_(too_short|too_long|pattern_mismatch)|(value|assertion)_error"
)


class Problem(NamedTuple):
    """What is wrong with one parameter; ``path`` leads to it, ``()`` for all of them together."""

    path: tuple[str | int, ...]
    message: str


def explained(cls: type, params: Mapping[str, Any], error: ErrorDetails, of: str) -> Problem:
    """One error of pydantic in our words. Its ``loc`` leads to the value and then into the branches of a union."""
    kind, loc, message = error["type"], error["loc"], error["msg"]
    hint: Any = cls
    path: list[str | int] = []
    for part in loc:
        inner = _inside(hint, part)
        if inner is None:
            break
        path.append(_outer(hint, part))
        hint = inner
    rest = len(loc) - len(path)
    if kind in ("extra_forbidden", "invalid_key") and rest == 1 and isinstance(_only(hint), type):
        return _unknown([*path, loc[-1]], list(types_of(_only(hint))), of)
    if kind == "missing" and rest == 0 and isinstance(path[-1], str):
        return Problem(tuple(path), f"parameter {_dotted(path)!r} of {of} is required: {expected_text(hint)}")
    if kind == "missing" and rest == 0:  # a fixed list that is too short: the list is wrong, not its absent element
        path.pop()
        hint = functools.reduce(_inside, path, cls)
    if loc[-1] == "[key]":
        return Problem(tuple(path), f"parameter {_dotted(path[:-1])!r} of {of}: a key must be text, got {path[-1]!r}")
    value = error["input"]  # of a default; where the value was given, the whole of it, not one branch of a union
    if path[0] in params:
        value = functools.reduce(lambda inner, part: inner[part], path, plain(params))
    text = f"parameter {_dotted(path)!r} of {of}"
    if _LIMITS.fullmatch(kind) and rest == 0:
        limit = re.sub(
            "^(Value error, |Assertion failed, )", ": ", re.sub("^(Input|String|List) should", " must", message)
        )
        return Problem(tuple(path), f"{text}{limit}, got {shown(value)}")
    return Problem(tuple(path), f"{text}: expected {expected_text(hint)}, got {shown(value)}{_guess(hint, value)}")


def _only(hint: Any) -> Any:
    """The type without ``Annotated`` and without ``| None`` where one other type is left."""
    hint = bare(hint)
    parts = [part for part in get_args(hint) if part is not type(None)]
    return _only(parts[0]) if get_origin(hint) in UNIONS and len(parts) == 1 else hint


def _inside(hint: Any, part: str | int) -> Any:
    """The type of one part of a value, or ``None`` where ``part`` does not lead inside."""
    hint = _only(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return types_of(hint).get(str(_outer(hint, part))) if isinstance(part, str) else None
    if origin in (dict, Mapping):
        return parts[1] if part != "[key]" else None
    if origin in LISTS and isinstance(part, int):
        fixed = origin is tuple and Ellipsis not in parts
        return (parts[part] if part < len(parts) else None) if fixed else parts[0]
    return None


def _outer(hint: Any, part: str | int) -> str | int:
    """The name of a parameter; pydantic speaks of a wrong default by the field's inner name."""
    hint = _only(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(part, str):
        return part if part in types_of(hint) else part.removeprefix("p_")
    return part


def _unknown(path: Sequence[str | int], known: Sequence[str], of: str) -> Problem:
    dotted = [_dotted([*path[:-1], name]) for name in known]
    close = difflib.get_close_matches(_dotted(path), dotted, n=1)
    if close:
        remedy = f"Did you mean {close[0]!r}?"
    else:
        remedy = f"Known: {', '.join(dotted)}." if dotted else "It has no parameters."
    return Problem(tuple(path), f"unknown parameter {_dotted(path)!r} of {of}. {remedy}")


def _dotted(path: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    return f"{path[0]}{text}"


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _guess(hint: Any, value: Any) -> str:
    """The nearest value; YAML 1.1 reads ``1e-3`` as text, which deserves a word."""
    if not isinstance(value, str):
        return ""
    close = difflib.get_close_matches(value, [o for o in options(hint) if isinstance(o, str)], n=1)
    if close:
        return f". Did you mean {close[0]!r}?"
    numbers = {int, float} & {bare(part) for part in (get_args(_only(hint)) or (_only(hint),)) if not options(part)}
    try:
        number = float(value) if float in numbers else int(value) if numbers else math.nan
    except ValueError:
        return ""
    mantissa, _, exponent = repr(number).partition("e")
    mantissa += ".0" if exponent and "." not in mantissa else ""
    return f". Did you mean {f'{mantissa}e{exponent}' if exponent else mantissa}?" if math.isfinite(number) else ""
