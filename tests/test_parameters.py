"""Parameters: a dataclass's fields are its schema, and every message helps."""

from __future__ import annotations

import enum
import json
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tlbench import DataError, PluginError, Recipe
from tlbench.parameters.schema import (
    MAX_COMBINATIONS,
    build,
    check_defaults,
    complete,
    describe,
    expand,
    grid_problems,
    json_schema,
    model_of,
    problems,
    types_of,
)
from tlbench.parameters.text import doc_of, field_docs, first_line, type_text

if TYPE_CHECKING:
    from torch import Tensor


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Optimiser:
    lr: float = 0.001
    betas: tuple[float, float] = (0.9, 0.99)

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")


@dataclass(frozen=True)
class Everything:
    """One of each type.

    More words.

    ``whole``, ``switch``  two that share
                           a long line
    ``text``               what it says
    """

    name: ClassVar[str] = "everything"

    alpha: float = 1
    """Strength of
    the pull."""
    whole: int = 3
    switch: bool = False
    text: str = "a"
    maybe: int | None = None
    kind: Literal["sgd", "adam", 3] = "sgd"
    colour: Colour = Colour.RED
    where: Path | None = None
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, str] = (1, "x")
    names: frozenset[str] = frozenset({"b", "a"})
    table: dict[str, float] = field(default_factory=dict)
    inner: Optimiser = Optimiser()
    many: list[Optimiser] = field(default_factory=list)
    either: float | Literal["auto"] | list[int] = "auto"
    free: Any = None
    limited: Annotated[float, Field(gt=0)] = 0.5
    schema: str = "a name that pydantic uses itself"
    derived: int = field(default=7, init=False)


def messages(params: dict[Any, Any], cls: type = Everything) -> list[str]:
    return [p.message for p in problems(cls, params, of="strategy 'x'")]


# ---- completing and building ---------------------------------------------------------------------


def test_complete_fills_every_default_with_plain_data():
    assert complete(Everything, {}) == {
        "alpha": 1.0,
        "whole": 3,
        "switch": False,
        "text": "a",
        "maybe": None,
        "kind": "sgd",
        "colour": "red",
        "where": None,
        "sizes": [1, 2],
        "pair": [1, "x"],
        "names": ["a", "b"],
        "table": {},
        "inner": {"lr": 0.001, "betas": [0.9, 0.99]},
        "many": [],
        "either": "auto",
        "free": None,
        "limited": 0.5,
        "schema": "a name that pydantic uses itself",
    }


def test_one_meaning_has_one_form():
    written = json.dumps(complete(Everything, {"alpha": 2, "names": ["b", "a", "b"], "inner": {"lr": 1}}))
    again = json.dumps(complete(Everything, {"inner": {"lr": 1.0}, "names": ["a", "b"], "alpha": 2.0}))
    assert written == again
    assert isinstance(complete(Everything, {})["alpha"], float)  # though its default was written 1


def test_build_gives_the_types_of_the_fields():
    made = build(
        Everything,
        {
            "sizes": [3],
            "colour": "blue",
            "where": "a/b",
            "inner": {"lr": 2},
            "many": [{}],
            "names": ["z"],
            "pair": [4, "y"],
        },
    )
    assert made.sizes == (3,)
    assert made.colour is Colour.BLUE
    assert made.where == Path("a/b")
    assert made.inner == Optimiser(lr=2.0)
    assert made.many == [Optimiser()]
    assert made.names == frozenset({"z"})
    assert made.pair == (4, "y")
    assert made.derived == 7


def test_python_values_are_taken_as_well_as_yaml_values():
    params = {"sizes": (3, 4), "colour": Colour.BLUE, "where": Path("a"), "inner": Optimiser(lr=5.0)}
    assert complete(Everything, params) == complete(
        Everything, {"sizes": [3, 4], "colour": "blue", "where": "a", "inner": {"lr": 5.0}}
    )


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "alpha": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**50), 2**50),
            "whole": st.integers(),
            "text": st.text(),
            "maybe": st.none() | st.integers(),
            "kind": st.sampled_from(["sgd", "adam", 3]),
            "sizes": st.lists(st.integers()),
            "names": st.lists(st.text()),
            "table": st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
            "either": st.floats(0, 1) | st.just("auto") | st.lists(st.integers()),
            "limited": st.floats(0, exclude_min=True, allow_infinity=False),
        },
    )
)
def test_completing_survives_json_and_a_second_time_changes_nothing(params):
    once = complete(Everything, params)
    assert complete(Everything, json.loads(json.dumps(once))) == once
    assert build(Everything, once) == build(Everything, params)


def test_all_problems_come_at_once_when_building():
    with pytest.raises(PluginError) as error:
        build(Everything, {"whole": "x", "switch": 1}, of="strategy 'x'")
    assert len(str(error.value).splitlines()) == 2


def test_names_that_pydantic_uses_itself_are_free():
    @dataclass(frozen=True)
    class Awkward:
        model_config: int = 1
        copy: int = 2
        json: int = 3
        p_json: int = 4
        _private: int = 5

    assert complete(Awkward, {"json": 9}) == {"model_config": 1, "copy": 2, "json": 9, "p_json": 4, "_private": 5}
    with pytest.raises(FrozenInstanceError):
        build(Awkward, {}).copy = 3  # type: ignore[misc]


# ---- messages ------------------------------------------------------------------------------------


def test_an_unknown_parameter_suggests_the_nearest_one():
    assert messages({"alhpa": 1}) == ["unknown parameter 'alhpa' of strategy 'x'. Did you mean 'alpha'?"]
    assert messages({"inner": {"lrr": 1}}) == [
        "unknown parameter 'inner.lrr' of strategy 'x'. Did you mean 'inner.lr'?"
    ]


def test_an_unknown_parameter_that_resembles_none_is_answered_with_all():
    (message,) = problems(Optimiser, {"zzz": 1}, of="it")
    assert message.message == "unknown parameter 'zzz' of it. Known: lr, betas."

    @dataclass(frozen=True)
    class Bare:
        pass

    assert messages({"zzz": 1}, Bare) == ["unknown parameter 'zzz' of strategy 'x'. It has no parameters."]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": "x"}, "'alpha' of strategy 'x': expected a number, got 'x'"),
        ({"alpha": "12"}, "'alpha' of strategy 'x': expected a number, got '12'. Did you mean 12.0?"),
        ({"alpha": "1e-3"}, "'alpha' of strategy 'x': expected a number, got '1e-3'. Did you mean 0.001?"),
        ({"alpha": "1e-7"}, "'alpha' of strategy 'x': expected a number, got '1e-7'. Did you mean 1.0e-07?"),
        ({"alpha": True}, "'alpha' of strategy 'x': expected a number, got True"),
        ({"alpha": [1, 2]}, "'alpha' of strategy 'x': expected a number, got [1, 2]"),
        ({"alpha": float("nan")}, "'alpha' of strategy 'x' must be a finite number, got nan"),
        ({"alpha": float("inf")}, "'alpha' of strategy 'x' must be a finite number, got inf"),
        ({"whole": "12"}, "'whole' of strategy 'x': expected a whole number, got '12'. Did you mean 12?"),
        ({"whole": True}, "'whole' of strategy 'x': expected a whole number, got True"),
        ({"whole": 1.0}, "'whole' of strategy 'x': expected a whole number, got 1.0"),
        ({"switch": "yes"}, "'switch' of strategy 'x': expected true or false, got 'yes'"),
        ({"switch": 1}, "'switch' of strategy 'x': expected true or false, got 1"),
        ({"text": 3}, "'text' of strategy 'x': expected text, got 3"),
        ({"maybe": "x"}, "'maybe' of strategy 'x': expected a whole number or null, got 'x'"),
        ({"kind": "sdg"}, "expected one of 'sgd', 'adam', 3, got 'sdg'. Did you mean 'sgd'?"),
        ({"colour": "rde"}, "expected one of 'red', 'blue', got 'rde'. Did you mean 'red'?"),
        ({"where": 3}, "'where' of strategy 'x': expected a path or null, got 3"),
        ({"sizes": "abc"}, "'sizes' of strategy 'x': expected a list of whole numbers, got 'abc'"),
        ({"sizes": [1, "a"]}, "'sizes[1]' of strategy 'x': expected a whole number, got 'a'"),
        ({"pair": [1]}, "'pair' of strategy 'x': expected a list of 2: a whole number, text, got [1]"),
        ({"inner": {"betas": [1, 2, 3]}}, "'inner.betas' of strategy 'x': expected a list of 2 numbers, got [1, 2, 3]"),
        ({"inner": 3}, "'inner' of strategy 'x': expected a mapping with lr, betas, got 3"),
        ({"many": [{}, {"lr": "x"}]}, "'many[1].lr' of strategy 'x': expected a number, got 'x'"),
        ({"table": {"a": "b"}}, "'table.a' of strategy 'x': expected a number, got 'b'"),
        ({"table": {1: 2.0}}, "'table' of strategy 'x': a key must be text, got 1"),
        ({"either": "aut"}, "expected a number or 'auto' or a list of whole numbers, got 'aut'. Did you mean 'auto'?"),
        ({"either": [1, "a"]}, "'either' of strategy 'x': expected a number or 'auto' or a list of whole numbers"),
        ({"free": {1: 2}}, "'free' of strategy 'x': expected plain data with text keys, got {1: 2}"),
        ({"free": object}, "'free' of strategy 'x': expected plain data with text keys, got <class 'object'>"),
        ({"limited": 0}, "'limited' of strategy 'x' must be greater than 0, got 0"),
        ({3: 4}, "unknown parameter '3' of strategy 'x'. Known: "),
        ({"text": "x" * 100, "whole": "y" * 100}, "got 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy..."),
    ],
)
def test_a_wrong_value_is_answered_with_what_was_expected(params, message):
    (found,) = messages(params)
    assert message in found


def test_a_whole_number_is_a_number():
    assert messages({"alpha": 1, "limited": 3, "table": {"a": 1}}) == []


def test_the_path_leads_to_the_value():
    params = {"sizes": [1, "a"], "many": [{}, {"lr": "x"}], "inner": {"lrr": 1}, "table": {"a": "b"}}
    assert {p.path for p in problems(Everything, params)} == {
        ("sizes", 1),
        ("many", 1, "lr"),
        ("inner", "lrr"),
        ("table", "a"),
    }


def test_a_required_parameter_is_asked_for():
    @dataclass(frozen=True)
    class Needy:
        count: int

    assert messages({}, Needy) == ["parameter 'count' of strategy 'x' is required: a whole number"]
    check_defaults(Needy)


def test_rules_of_post_init_are_problems_at_the_parameter_that_they_name():
    assert problems(Recipe, {"lr": -1.0}, of="the recipe") == [(("lr",), "the recipe: lr must be positive, got -1.0")]
    ((path, message),) = problems(Recipe, {"steps": 1, "epochs": 2.0}, of="the recipe")
    assert (path, message) == (("steps",), "the recipe: give steps or epochs, not both")
    assert messages({"inner": {"lr": -1.0}}) == ["strategy 'x': lr must be positive, got -1.0"]


def test_an_unknown_name_does_not_hide_a_broken_rule():
    found = problems(Recipe, {"steps": 0, "learning_rate": 1}, of="the recipe")
    assert [p.path for p in found] == [("learning_rate",), ("steps",)]


def test_every_error_of_post_init_is_caught():
    @dataclass(frozen=True)
    class Raises:
        how: Literal["data", "bug"] = "data"

        def __post_init__(self) -> None:
            if self.how == "data":
                raise DataError("no such data")
            raise TypeError("a bug")

    assert messages({}, Raises) == ["strategy 'x': no such data"]
    assert messages({"how": "bug"}, Raises) == ["strategy 'x': TypeError: a bug"]


def test_parameters_that_are_no_mapping_are_a_problem():
    assert messages([1]) == ["parameters of strategy 'x': expected a mapping, got [1]"]  # type: ignore[arg-type]


# ---- classes that cannot be ----------------------------------------------------------------------


def test_a_type_that_yaml_cannot_write_is_refused():
    @dataclass(frozen=True)
    class Odd:
        good: int = 1
        bad: dict[int, str] = field(default_factory=dict)

    with pytest.raises(PluginError, match=r"parameter 'bad' has the type dict\[int, str\]; a parameter is"):
        model_of(Odd)


def test_a_type_that_cannot_be_resolved_is_refused():
    @dataclass(frozen=True)
    class Lost:
        weights: Tensor | None = None

    with pytest.raises(PluginError, match=r"parameter 'weights' cannot be resolved \(name 'Tensor' is not defined\)"):
        types_of(Lost)


def test_a_class_variable_that_cannot_be_resolved_does_not_matter():
    @dataclass(frozen=True)
    class Fine:
        weights: ClassVar[Tensor]
        alpha: float = 1.0

    assert complete(Fine, {}) == {"alpha": 1.0}


def test_a_default_that_is_not_of_its_type_is_refused():
    @dataclass(frozen=True)
    class Sloppy:
        alpha: float = None  # type: ignore[assignment]

    with pytest.raises(
        PluginError, match="its default is wrong: parameter 'alpha' of Sloppy: expected a number, got None"
    ):
        check_defaults(Sloppy)


def test_inherited_fields_are_resolved_where_they_were_written():
    @dataclass(frozen=True)
    class Child(Recipe):
        steps: int | None = 7

    assert complete(Child, {})["steps"] == 7
    assert complete(Child, {})["selection"] == "last"


# ---- grids ---------------------------------------------------------------------------------------


def test_a_list_is_a_grid_and_the_last_one_written_changes_fastest():
    assert expand(Everything, {"alpha": [1, 2], "text": "z", "whole": [3, 4]}) == [
        {"alpha": 1, "text": "z", "whole": 3},
        {"alpha": 1, "text": "z", "whole": 4},
        {"alpha": 2, "text": "z", "whole": 3},
        {"alpha": 2, "text": "z", "whole": 4},
    ]
    assert expand(Everything, {}) == [{}]


def test_a_list_is_a_value_where_the_parameter_takes_lists():
    assert expand(Everything, {"sizes": [1, 2]}) == [{"sizes": [1, 2]}]
    assert expand(Everything, {"sizes": []}) == [{"sizes": []}]
    assert expand(Everything, {"sizes": [[1], [2, 3]]}) == [{"sizes": [1]}, {"sizes": [2, 3]}]
    assert expand(Everything, {"either": [1, 2]}) == [{"either": [1, 2]}]
    assert expand(Everything, {"many": [{}, {}]}) == [{"many": [{}, {}]}]
    assert expand(Everything, {"inner": [{"lr": 1.0}, {"lr": 2.0}]}) == [{"inner": {"lr": 1.0}}, {"inner": {"lr": 2.0}}]


def test_an_empty_grid_is_a_problem():
    assert [p.path for p in grid_problems(Everything, {"alpha": []})] == [("alpha",)]
    with pytest.raises(PluginError, match="parameter 'alpha' of strategy 'x': an empty list is no grid"):
        expand(Everything, {"alpha": []}, of="strategy 'x'")


def test_a_problem_in_a_grid_leads_to_its_value():
    params = {"alpha": [1, "z"], "sizes": [[3], ["q"]], "whole": "w", "inner": [{}, {"lr": "l"}], "no": [1]}
    assert {p.path for p in grid_problems(Everything, params)} == {
        ("alpha", 1),
        ("sizes", 1, 0),
        ("whole",),
        ("inner", 1, "lr"),
        ("no",),
    }


def test_a_rule_between_parameters_is_checked_for_every_combination():
    found = grid_problems(Recipe, {"lr": [0.1, -0.2, -0.3], "steps": [1, 2]}, of="the recipe")
    assert {p.message for p in found} == {f"the recipe: lr must be positive, got {lr}" for lr in (-0.2, -0.3)}


def test_a_grid_beyond_reason_is_a_problem():
    many = list(range(101))
    (found,) = grid_problems(Everything, {"alpha": many, "whole": many})
    assert f"10201 combinations; at most {MAX_COMBINATIONS}" in found.message


# ---- showing -------------------------------------------------------------------------------------


def test_the_json_schema_agrees_with_the_checks():
    schema = json_schema(Everything)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "$ref" not in json.dumps(schema)
    check = jsonschema.Draft202012Validator(schema)
    cases: list[dict[str, Any]] = [
        {},
        {"alpha": 1},
        {"alpha": [1, 2.5]},
        {"alpha": "x"},
        {"alpha": []},
        {"alhpa": 1},
        {"colour": ["red", "blue"]},
        {"colour": "green"},
        {"sizes": [1, 2]},
        {"sizes": [[1], [2]]},
        {"sizes": "x"},
        {"inner": {"lr": 3}},
        {"inner": {"lrr": 3}},
        {"inner": [{"lr": 3}, {"betas": [1, 2]}]},
        {"limited": 0},
        {"maybe": None},
        {"kind": 3},
    ]
    for case in cases:
        assert check.is_valid(case) == (not grid_problems(Everything, case)), case


def test_the_json_schema_has_docs_and_defaults():
    properties = json_schema(Everything)["properties"]
    assert properties["alpha"]["description"] == "Strength of the pull."
    assert properties["sizes"]["default"] == [1, 2]
    assert json_schema(Everything)["description"] == "One of each type."


def test_a_property_called_title_stays():
    @dataclass(frozen=True)
    class Book:
        title: str = "t"

    assert list(json_schema(Book)["properties"]) == ["title"]


def test_docs_come_from_below_the_field_or_from_the_docstring():
    docs = field_docs(Everything)
    assert docs == {
        "alpha": "Strength of the pull.",
        "whole": "two that share a long line",
        "switch": "two that share a long line",
        "text": "what it says",
    }
    assert field_docs(Recipe)["warmup"] == "share of the steps over which the learning rate rises from 0"


def test_a_docstring_made_up_by_dataclasses_is_none():
    assert doc_of(Optimiser) == ""
    assert first_line(Everything) == "One of each type."


def test_describe_lists_the_parameters_in_order():
    found = {p.name: p for p in describe(Everything)}
    assert list(found) == list(complete(Everything, {}))
    assert (found["alpha"].type_text, found["alpha"].default, found["alpha"].required) == ("float", 1, False)
    assert found["colour"].default == "red"


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int | None, "int | null"),
        (Literal["a", "b"], "'a' | 'b'"),
        (Literal["a"] | float, "'a' | float"),
        (tuple[int, ...], "list[int]"),
        (dict[str, float], "dict[str, float]"),
        (Colour, "'red' | 'blue'"),
        (Path, "path"),
        (Optimiser, "{lr, betas}"),
        (Annotated[float, 3], "float"),
        (Any, "any"),
    ],
)
def test_types_read_as_yaml_would_say_them(hint, text):
    assert type_text(hint) == text
