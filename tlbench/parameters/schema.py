"""Schema: checks, completion, grids and JSON Schema from the fields of a plugin's dataclass.

A plugin author writes no schema. From the fields' types and defaults come the checks and their messages with the
nearest name, the completed parameters that a trial's key is made of, the grids of a suite, and its JSON Schema.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from tlbench.errors import PluginError, TlbenchError
from tlbench.parameters.messages import Problem, explained, shown
from tlbench.parameters.model import Parameters, dumped, fields_of, is_plain, model_of, plain, types_of
from tlbench.parameters.text import LISTS, PLUGINS, UNIONS, bare, field_docs, first_line, type_text

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "MAX_COMBINATIONS",
    "Parameter",
    "Problem",
    "axes",
    "build",
    "check_defaults",
    "complete",
    "describe",
    "expand",
    "grid_problems",
    "json_schema",
    "model_of",
    "nested",
    "plain",
    "problems",
    "types_of",
]

T = TypeVar("T")

MAX_COMBINATIONS = 10_000
"""A larger grid is taken for a slip."""


@dataclass(frozen=True)
class Parameter:
    """A parameter as the catalogue shows it; ``default`` is plain data, ``None`` where one is ``required``."""

    name: str
    type_text: str
    default: Any
    required: bool
    doc: str


# ---- checking ------------------------------------------------------------------------------------


def problems(cls: type, params: Mapping[str, Any], *, of: str | None = None) -> list[Problem]:
    """Everything that is wrong with ``params``. ``of`` names the owner in messages: ``strategy 'l2-sp'``."""
    return _check(cls, params, of or _owner(cls))[1]


def complete(cls: type, params: Mapping[str, Any], *, of: str | None = None) -> dict[str, Any]:
    """``params`` with all defaults, as plain data in the order of the fields: one form for one meaning.

    Tuples and sets become lists, paths text, enumerations their values, and 1 is 1.0 where a float is meant.
    Raises ``PluginError`` with one line for each problem.
    """
    model, found = _check(cls, params, of or _owner(cls))
    if found or model is None:
        raise PluginError("\n".join(problem.message for problem in found))
    return dumped(model)


def build(
    cls: type[T], params: Mapping[str, Any], *, of: str | None = None, inner: Mapping[str, Any] | None = None
) -> T:
    """An instance with these parameters. Raises ``PluginError`` with one line for each problem.

    ``inner`` has the instances for the parameters that are plugins themselves, see ``nested``.
    """
    model, found = _check(cls, params, of or _owner(cls))
    if found or model is None:
        raise PluginError("\n".join(problem.message for problem in found))
    return _built(cls, model, inner or {})


def nested(cls: type) -> dict[str, tuple[str, bool]]:
    """The parameters that hold other plugins: name -> (kind of plugin, whether it is a list of them)."""
    found = {}
    for name, hint in types_of(cls).items():
        hint = bare(hint)
        parts = [bare(part) for part in get_args(hint) if part not in (None, type(None), Ellipsis)]
        if hint in PLUGINS:
            found[name] = (PLUGINS[hint], False)
        elif get_origin(hint) in (*LISTS, *UNIONS) and len(parts) == 1 and parts[0] in PLUGINS:
            found[name] = (PLUGINS[parts[0]], get_origin(hint) in LISTS)
    return found


def check_defaults(cls: type) -> None:
    """Raise ``PluginError`` where a type cannot be written in YAML or a default is not of its type."""
    required = {f.alias for f in model_of(cls).model_fields.values() if f.is_required()}
    # A rule of __post_init__ may well want more than the defaults, and its problem has no path.
    if wrong := [p for p in problems(cls, {}) if p.path and p.path[0] not in required]:
        raise PluginError(f"its default is wrong: {wrong[0].message}")


def _owner(cls: type) -> str:
    name = getattr(cls, "name", None)
    return repr(name) if isinstance(name, str) else cls.__name__


def _check(cls: type, params: Mapping[str, Any], of: str) -> tuple[BaseModel | None, list[Problem]]:
    if not isinstance(params, Mapping):
        return None, [Problem((), f"parameters of {of}: expected a mapping, got {shown(params)}")]
    try:
        model = model_of(cls).model_validate(plain(params))
    except ValidationError as error:
        found = [explained(cls, params, e, of) for e in error.errors(include_url=False)]
        found = list({problem.path: problem for problem in reversed(found)}.values())[::-1]
        rest = {name: value for name, value in params.items() if name in types_of(cls)}
        if len(found) == len(params) - len(rest):  # the names alone are wrong: the rest can still be judged
            found += _check(cls, rest, of)[1]
        return None, found
    for name, value in dumped(model).items():
        if not is_plain(value):
            text = f"parameter {name!r} of {of}: expected plain data with text keys, got {shown(value)}"
            return None, [Problem((name,), text)]
    try:
        _built(cls, model)
    except Exception as error:
        known = isinstance(error, (ValueError, TlbenchError))
        text = f"{error}" if known else f"{type(error).__name__}: {error}"
        named = [name for name in params if re.search(rf"\b{re.escape(name)}\b", text)]
        return None, [Problem((named[0],) if named else (), f"{of}: {text}")]
    return model, []


def _built(cls: type[T], model: BaseModel, inner: Mapping[str, Any] | None = None) -> T:
    values = {name: _value(getattr(model, f"p_{name}")) for name in fields_of(cls)}
    return cls(**{**values, **(inner or {})})


def _value(value: Any) -> Any:
    if isinstance(value, Parameters):
        return _built(value.source, value)
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_value(item) for item in value)
    return value


# ---- grids ---------------------------------------------------------------------------------------


def axes(cls: type, params: Mapping[str, Any]) -> dict[str, list[Any]]:
    """For each parameter its values: a list is a grid, unless the parameter itself takes a list."""
    return {name: list(value) if _is_grid(cls, name, value) else [value] for name, value in params.items()}


def expand(cls: type, params: Mapping[str, Any], *, of: str | None = None) -> list[dict[str, Any]]:
    """Every combination of the grids; the last parameter written changes fastest.

    A list is a grid unless the parameter itself takes a list; then a list of lists is one. Raises ``PluginError`` for
    an empty grid. Values are not checked here, see ``grid_problems``.
    """
    grid = axes(cls, params)
    if empty := [name for name, values in grid.items() if not values]:
        raise PluginError(_empty(empty[0], of or _owner(cls)).message)
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def grid_problems(cls: type, params: Mapping[str, Any], *, of: str | None = None) -> list[Problem]:
    """Everything that is wrong with parameters that may hold grids; a path leads to the value inside its grid."""
    of = of or _owner(cls)
    if not isinstance(params, Mapping):
        return problems(cls, params, of=of)
    grid = axes(cls, params)
    found = [_empty(name, of) for name, values in grid.items() if not values]
    single = {name: values[0] for name, values in grid.items() if values}
    found += [p for p in problems(cls, {}, of=of) if p.path and p.path[0] not in params]
    for name, values in grid.items():
        for index, value in enumerate(values):
            inside = (index,) if _is_grid(cls, name, params[name]) else ()
            wrong = [p for p in _check(cls, {**single, name: value}, of)[1] if p.path[:1] == (name,)]
            found += [Problem((name, *inside, *p.path[1:]), p.message) for p in wrong]
    if (count := math.prod(map(len, grid.values()))) > MAX_COMBINATIONS:
        found.append(
            Problem((), f"the grids of {of} make {count} combinations; at most {MAX_COMBINATIONS} are allowed")
        )
    if not found:  # only whole combinations can break the rules between parameters
        for combination in expand(cls, params, of=of):
            found += [p for p in problems(cls, combination, of=of) if p not in found]
    return found


def _empty(name: str, of: str) -> Problem:
    return Problem((name,), f"parameter {name!r} of {of}: an empty list is no grid; give at least one value")


def _is_grid(cls: type, name: str, value: Any) -> bool:
    if name not in types_of(cls) or not isinstance(value, (list, tuple)):
        return False
    if not _takes_list(types_of(cls)[name]):
        return True
    nested = bool(value) and all(isinstance(item, (list, tuple)) for item in value)
    return nested and any(p.path[:1] == (name,) for p in _check(cls, {name: value}, "")[1])


def _takes_list(hint: Any) -> bool:
    hint = bare(hint)
    if get_origin(hint) in UNIONS:
        return any(map(_takes_list, get_args(hint)))
    return hint is Any or (get_origin(hint) or hint) in LISTS


# ---- showing -------------------------------------------------------------------------------------


def describe(cls: type) -> list[Parameter]:
    """Each parameter with its type, default and doc, in the order of the fields."""
    docs = field_docs(cls)
    fields = {str(f.alias): f for f in model_of(cls).model_fields.values()}
    return [
        Parameter(
            name=name,
            type_text=type_text(hint),
            default=None if fields[name].is_required() else fields[name].default,
            required=fields[name].is_required(),
            doc=docs.get(name, ""),
        )
        for name, hint in types_of(cls).items()
    ]


def json_schema(cls: type) -> dict[str, Any]:
    """A JSON Schema of the parameters as a suite writes them: each takes its value or an array of values, a grid."""
    schema = model_of(cls).model_json_schema(by_alias=True)
    docs = field_docs(cls)
    properties = {}
    for name, value in schema.get("properties", {}).items():
        value = _inlined(value, schema.get("$defs", {}))
        around = {key: value.pop(key) for key in ("default",) if key in value}
        if name in docs:
            around["description"] = docs[name]
        properties[name] = {"anyOf": [value, {"type": "array", "items": value, "minItems": 1}], **around}
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    made |= {"required": schema["required"]} if "required" in schema else {}
    return made | ({"description": line} if (line := first_line(cls)) else {})


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Without references and titles, so that the schema can stand anywhere in a larger one."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**target, **{key: item for key, item in schema.items() if key != "$ref"}}
    return {
        # A property may itself be called "title": only a text there is a title.
        key: _inlined(item, definitions)
        for key, item in schema.items()
        if not (key == "title" and isinstance(item, str))
    }
