"""The JSON Schema of suites, with the plugins that are installed, for editors that complete and check YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlbench.api.recipe import Recipe
from tlbench.api.trials import PRETRAINED
from tlbench.parameters import schema as parameters
from tlbench.suite.load import FORMAT, KEYS, MAX_SEEDS
from tlbench.suite.suite import AXES, SOURCE_TRAINING

if TYPE_CHECKING:
    from tlbench.plugins import Plugins

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LINE = {"type": "string", "minLength": 1}


def json_schema(plugins: Plugins) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a suite file with the plugins at hand.

    Looser than ``load`` where JSON Schema cannot follow: names that the suite defines itself, names in filters,
    the rules between parameters, and files that a suite extends (then no key is required but ``tlbench``).
    """
    kinds = ("datasets", "tasks", "backbones", "strategies")
    properties = {
        "tlbench": {"const": FORMAT, "description": "Version of the format."},
        "name": {**_LINE, "description": "Name of the suite; the file's name where left out."},
        "description": {"type": "string", "description": "What the suite shows."},
        "expect": {"type": "string", "description": "The result that is expected."},
        "data_root": {**_LINE, "description": "Folder whose owner/name folders stand in for the hub; from this file."},
        "extends": {**_some(_LINE), "description": "Suite files whose keys count where this file does not have them."},
        "datasets": {
            "type": "object",
            "propertyNames": {**_LINE, "not": {"const": PRETRAINED}},
            "additionalProperties": {"$ref": "#/$defs/datasets"},
            "description": "Names of this suite for data sets with parameters.",
        },
        "sources": {**_some({"$ref": "#/$defs/source"}), "description": "Data sets, or 'pretrained'."},
        "targets": {**_some({"$ref": "#/$defs/datasets"}), "description": "Data sets."},
        "pairs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "array",
                "prefixItems": [{"$ref": "#/$defs/source"}, {"$ref": "#/$defs/datasets"}],
                "minItems": 2,
                "items": False,
            },
            "description": "Pairs [source, target], instead of sources and targets.",
        },
        **{kind: _some({"$ref": f"#/$defs/{kind}"}) for kind in kinds[1:]},
        "seeds": {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": True},
            ],
            "default": 3,
            "description": "A number n for the seeds 0 to n-1, or a list of seeds.",
        },
        "recipe": _recipe("What all strategies share: budget, optimiser, selection rule."),
        "source_recipe": _recipe("How source models train, where it differs from the recipe."),
        "metrics": {
            **_some({"enum": sorted(plugins.offers("metrics"))}),
            "default": ["accuracy"],
            "description": "The first is the score.",
        },
        "include": {**_filters(), "description": "Only trials that fit one of these."},
        "exclude": {**_filters(), "description": "No trial that fits one of these."},
        "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "Seconds for each trial."},
    }
    assert set(properties) == set(KEYS)
    whole = {"anyOf": [{"required": ["pairs"]}, {"required": ["sources", "targets"]}]}
    apart = {"not": {"required": ["pairs"], "anyOf": [{"required": ["sources"]}, {"required": ["targets"]}]}}
    return {
        "$schema": DIALECT,
        "title": "tlbench suite",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": ["tlbench"],
        "allOf": [
            {"if": {"not": {"required": ["extends"]}}, "then": {"required": list(kinds[1:]), **whole}},
            apart,
        ],
        "$defs": {
            "source": {"anyOf": [{"const": PRETRAINED}, {"$ref": "#/$defs/datasets"}]},
            **{kind: _choice(plugins, kind) for kind in kinds},
        },
    }


def _choice(plugins: Plugins, kind: str) -> dict[str, Any]:
    """A name, or a mapping with a name and the parameters of the plugin of that name."""
    offers = {name: offer for name, offer in plugins.offers(kind).items() if name != SOURCE_TRAINING}
    names: dict[str, Any] = {"enum": sorted(offers)}
    if kind == "datasets":  # or a name that the suite defines, which a schema cannot look up
        names = {"anyOf": [names, _LINE]}
    rules = []
    for name, offer in sorted(offers.items()):
        own = parameters.json_schema(offer.cls)
        rules.append(
            {
                "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
                "then": {
                    "properties": {**own["properties"], "name": {"const": name}, "label": _LINE},
                    "additionalProperties": False,
                    **({"required": own["required"]} if "required" in own else {}),
                    **({"description": own["description"]} if "description" in own else {}),
                },
            }
        )
    mapping = {
        "type": "object",
        "properties": {"name": names, "label": {**_LINE, "description": "Its name on the board."}},
        "required": ["name"],
        "allOf": rules,
    }
    return {"if": {"type": "object"}, "then": mapping, "else": {"type": "string", **names}}


def _some(item: dict[str, Any]) -> dict[str, Any]:
    """A list of items, or a single one."""
    return {"anyOf": [{"type": "array", "items": item, "minItems": 1}, item]}


def _recipe(description: str) -> dict[str, Any]:
    made = parameters.json_schema(Recipe)
    single = {}
    for name, schema in made["properties"].items():  # no grids in a recipe
        value, *_ = schema["anyOf"]
        single[name] = {**value, **{key: item for key, item in schema.items() if key != "anyOf"}}
    return {"type": "object", "properties": single, "additionalProperties": False, "description": description}


def _filters() -> dict[str, Any]:
    wanted = {axis: _some({"type": "integer" if axis == "seed" else "string"}) for axis in AXES}
    return {
        "type": "array",
        "items": {"type": "object", "properties": wanted, "additionalProperties": False, "minProperties": 1},
    }
