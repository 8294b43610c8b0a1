"""The JSON Schema of suites agrees with what the loader takes and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tlbench.plugins import Plugins
from tlbench.suite.files import shipped
from tlbench.suite.schema import json_schema


@pytest.fixture(scope="module")
def validator(plugins: Plugins) -> jsonschema.Draft202012Validator:
    schema = json_schema(plugins)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def suite(**changes: Any) -> dict[str, Any]:
    small = {
        "tlbench": 1,
        "sources": ["grid"],
        "targets": ["dots"],
        "tasks": "labelled",
        "backbones": ["net"],
        "strategies": ["tune"],
        **changes,
    }
    return {key: value for key, value in small.items() if value is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strategies": [{"name": "tune", "alpha": [0.1, 1], "label": "x"}, "align"]},
        {"datasets": {"white": {"name": "grid", "shift": "inverted"}}, "sources": ["white", "pretrained"]},
        {
            "sources": ...,
            "targets": ...,
            "pairs": [["grid", "dots"], ["pretrained", {"name": "grid", "classes": [1, 2]}]],
        },
        {"tasks": [{"name": "labelled", "labels": [5, 10, "all"]}]},
        {"recipe": {"steps": 5, "lr": 0.1}, "source_recipe": {"epochs": 1.5}, "metrics": ["accuracy", "recall"]},
        {"include": [{"source": "grid", "seed": [0, 1]}], "exclude": [{"strategy": ["tune"]}], "seeds": [3, 4]},
        {"extends": "common.yaml", "tasks": ..., "backbones": ..., "strategies": ..., "targets": ...},
    ],
)
def test_sound_suites_fit(changes: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(suite(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"tlbench": 2},
        {"descripton": "a slip"},
        {"strategies": ["tone"]},
        {"strategies": [{"name": "tune", "alhpa": 1}]},
        {"strategies": [{"name": "tune", "alpha": "much"}]},
        {"strategies": [{"name": "tune", "mode": ["all", "none"]}]},
        {"strategies": ["source-training"]},
        {"strategies": [{"alpha": 1}]},
        {"strategies": []},
        {"sources": [{"name": "grid", "shift": "inverse"}]},
        {"targets": ...},
        {"tasks": ...},
        {"pairs": [["grid", "dots"]]},
        {"sources": ..., "targets": ..., "pairs": [["grid"]]},
        {"recipe": {"steps": [1, 2]}},
        {"recipe": {"learning_rate": 1}},
        {"metrics": ["acuracy"]},
        {"seeds": 0},
        {"seeds": [-1]},
        {"timeout": 0},
        {"include": [{"stratgy": "tune"}]},
    ],
)
def test_wrong_suites_do_not_fit(changes: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid(suite(**changes))


def test_the_suites_that_come_along_fit_the_schema_of_the_installed_plugins() -> None:
    plugins = Plugins.discover()
    if "dann" not in plugins.offers("strategies"):
        pytest.skip("needs the distribution tlbench-adaptation")
    schema = json_schema(plugins)
    jsonschema.Draft202012Validator.check_schema(schema)
    benchmarks = (Path(__file__).parents[2] / "benchmarks" / "suites").glob("*.yaml")
    for path in (*shipped().values(), *benchmarks):
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)
