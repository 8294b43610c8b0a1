"""The pydantic model of a dataclass, and parameters as plain data."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, InitVar
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, Strict, create_model
from pydantic.errors import PydanticUserError

from tlbench.errors import PluginError
from tlbench.parameters.text import LISTS, PLUGINS, UNIONS, type_text


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, arbitrary_types_allowed=False)
    source: ClassVar[type]


@functools.cache
def model_of(cls: type) -> type[BaseModel]:
    """A pydantic model of the fields that ``cls`` takes.

    Strict where YAML is sloppy: ``"12"`` and ``True`` are no numbers; 1 is a number, whole or not; ``nan`` and ``inf``
    are none, because a key cannot hold them. Raises ``PluginError`` where a field's type cannot be written in YAML.
    """
    if not dataclasses.is_dataclass(cls):
        raise PluginError(f"{cls.__name__} is not a dataclass")
    definitions: dict[str, Any] = {}
    for name, field in fields_of(cls).items():
        default: Any = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        definition = Field(alias=name) if default is MISSING else Field(alias=name, default=plain(default))
        # The prefix leaves every name free for parameters, also those that mean something to pydantic.
        definitions[f"p_{name}"] = (_strict(types_of(cls)[name], name), definition)
    try:
        model: type[Parameters] = create_model(cls.__name__, __base__=Parameters, **definitions)
    except (PydanticUserError, TypeError) as error:
        raise PluginError(f"the parameters of {cls.__name__} cannot be checked: {error}") from error
    model.source = cls
    return model


@functools.cache
def types_of(cls: type) -> Mapping[str, Any]:
    """The resolved type of each parameter, in the order of the fields. Raises ``PluginError``."""
    found = {}
    for name, field in fields_of(cls).items():
        owner = next(b for b in reversed(cls.__mro__) if getattr(b, "__dataclass_fields__", {}).get(name) is field)
        holder = type("Holder", (), {"__annotations__": {name: field.type}})
        try:
            scope = vars(sys.modules[owner.__module__])
            found[name] = get_type_hints(holder, scope, dict(vars(owner)), include_extras=True)[name]
        except (NameError, AttributeError, KeyError, TypeError, SyntaxError) as error:
            raise PluginError(
                f"the type {field.type!r} of parameter {name!r} cannot be resolved ({error}); "
                "its names must be importable from the module at run time"
            ) from error
    return types.MappingProxyType(found)


def fields_of(cls: type) -> dict[str, dataclasses.Field[Any]]:
    for name, field in cls.__dict__.get("__dataclass_fields__", {}).items():
        if isinstance(field.type, InitVar) or str(field.type).startswith(("InitVar", "dataclasses.InitVar")):
            raise PluginError(f"parameter {name!r} is an InitVar, which cannot be read back")
    return {f.name: f for f in dataclasses.fields(cls) if f.init}


def _strict(hint: Any, name: str) -> Any:
    """The type with strict scalars and with models for dataclasses."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(_strict(parts[0], name), *parts[1:])]
    if hint is float:
        return Annotated[float, Strict(), AllowInfNan(False)]
    if hint in PLUGINS:
        return Union[Annotated[str, Strict()], dict[str, Any]]  # noqa: UP007
    if hint in (int, bool, str):
        return Annotated[hint, Strict()]
    if hint in (Any, None, type(None), list, tuple, set, frozenset, dict) or origin is Literal:
        return hint
    if origin in UNIONS:
        return Union[tuple(_strict(part, name) for part in parts)]  # noqa: UP007
    if origin in LISTS:
        return origin[tuple(part if part is Ellipsis else _strict(part, name) for part in parts)]
    if origin in (dict, Mapping) and parts[0] is str:
        return dict[str, _strict(parts[1], name)]  # type: ignore[misc]
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return model_of(hint)
    if isinstance(hint, type) and issubclass(hint, (enum.Enum, PurePath)):
        return hint
    raise PluginError(
        f"parameter {name!r} has the type {type_text(hint)}; a parameter is a number, text, true or false, null, "
        "a path, one of a few values (Literal or Enum), a strategy or a backbone, or a list, a mapping with text keys "
        "or a dataclass of these"
    )


def dumped(model: BaseModel) -> dict[str, Any]:
    return {str(f.alias): plain(getattr(model, name)) for name, f in type(model).model_fields.items()}


def plain(value: Any) -> Any:
    """Lists for tuples and sets, text for paths, values for enumerations, mappings for dataclasses."""
    if isinstance(value, BaseModel):
        return dumped(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in fields_of(type(value))}
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=lambda item: (str(type(item)), item))
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
