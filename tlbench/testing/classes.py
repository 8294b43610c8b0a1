"""What the classes of all kinds of plugin have in common."""

from __future__ import annotations

import dataclasses
from typing import Any

from tlbench.parameters.schema import nested


def check_class(plugin: Any, kind: str, method: str) -> None:
    """A frozen dataclass with a name, a docstring, its method, and a default for each parameter."""
    cls = type(plugin)
    assert dataclasses.is_dataclass(plugin), f"a {kind} must be a dataclass of its parameters"
    assert cls.__dataclass_params__.frozen, f"a {kind} must be a frozen dataclass: state lives in the call, not on self"
    assert isinstance(getattr(cls, "name", None), str), f"a {kind} needs `name: ClassVar[str]`"
    generated = f"{cls.__name__}("  # what a dataclass without a docstring gets
    assert not (cls.__doc__ or generated).startswith(generated), f"a {kind} needs a docstring: `tlbench list` shows it"
    assert callable(getattr(plugin, method, None)), f"a {kind} needs the method `{method}`"
    inside = nested(cls)
    for item in dataclasses.fields(plugin):
        if item.init and item.name not in inside:  # a wrapper need not say what it is around
            assert (
                item.default is not dataclasses.MISSING
                or item.default_factory is not dataclasses.MISSING
                or kind == "dataset"
            ), f"the parameter {item.name!r} of a {kind} needs a default"
