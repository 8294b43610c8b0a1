"""Strategies and backbones as parameters of a strategy: checked, completed, built, and part of key and fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tlbench.builtin.fine_tune import FineTune
from tlbench.builtin.small_backbones import MLP
from tlbench.errors import PluginError, SuiteError
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from pathlib import Path

AROUND = '''
"""A strategy around others."""
from dataclasses import dataclass
from typing import ClassVar

from tlbench import Backbone, Strategy, hookimpl


@dataclass(frozen=True)
class Around:
    """Fits the first one."""

    name: ClassVar[str] = "around"
    of: Strategy
    others: tuple[Strategy, ...] = ()
    body: Backbone | None = None

    @property
    def needs(self):
        return self.of.needs

    def fit(self, ctx):
        return self.of.fit(ctx)


@hookimpl
def tlbench_strategies():
    return [Around]
'''


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    (tmp_path / "around.py").write_text(AROUND)
    return Plugins.discover(extra=[str(tmp_path / "around.py")], entry_points=False)


def around(plugins: Plugins, **params: Any) -> Any:
    return plugins.build("strategies", "around", params)


def test_a_name_and_a_mapping_with_all_defaults_mean_the_same(plugins: Plugins) -> None:
    short = plugins.choice("strategies", "around", {"of": "fine-tune"})
    long = plugins.choice("strategies", "around", {"of": {"name": "fine-tune", "train": "all", "lr": 1}})
    assert short.digest == long.digest
    assert short.params["of"]["backbone_lr"] == 1.0  # completed, so that a later default changes the key
    assert plugins.choice("strategies", "around", {"of": {"name": "fine-tune", "lr": 0.5}}).digest != short.digest


def test_what_is_inside_is_built_with_its_parameters(plugins: Plugins) -> None:
    built = around(plugins, of={"name": "fine-tune", "lr": 0.5}, others=["scratch", "l2-sp"], body="mlp")
    assert built.of == FineTune(lr=0.5)
    assert [type(s).name for s in built.others] == ["scratch", "l2-sp"]
    assert built.body == MLP()
    assert around(plugins, of="scratch").others == ()
    assert around(plugins, of="scratch").body is None


def test_a_choice_can_be_instantiated_from_its_stored_parameters(plugins: Plugins) -> None:
    choice = plugins.choice("strategies", "around", {"of": {"name": "around", "of": "l2-sp"}})
    again = plugins.choice("strategies", "around", choice.params)
    assert again.digest == choice.digest
    assert type(plugins.instantiate("strategies", choice).of.of).name == "l2-sp"
    assert list(plugins.inside("strategies", choice)) == [("strategies", "around"), ("strategies", "l2-sp")]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("fine-tine", "parameter 'of' of strategy 'around': unknown strategy 'fine-tine'. Did you mean 'fine-tune'"),
        ({"name": "fine-tune", "ler": 1}, "unknown parameter 'ler' of strategy 'fine-tune'"),
        ({"lr": 1}, "a strategy written as a mapping needs 'name'"),
        (3, "expected a strategy's name, or a mapping with 'name' and parameters, got 3"),
    ],
)
def test_a_wrong_inner_plugin_is_told_with_its_place_and_the_nearest_name(
    plugins: Plugins, value: Any, said: str
) -> None:
    problems = plugins.problems("strategies", "around", {"of": value})
    assert len(problems) == 1
    assert problems[0].path[0] == "of"
    assert said in problems[0].message


def test_a_required_inner_plugin_that_is_left_out_is_told(plugins: Plugins) -> None:
    with pytest.raises(PluginError, match="parameter 'of' of strategy 'around' is required: a strategy's name"):
        plugins.choice("strategies", "around", {})


def suite(folder: Path, strategies: str) -> str:
    path = folder / "suite.yaml"
    path.write_text(
        "tlbench: 1\nname: inner\nsources: [{name: digits, shift: inverted}]\ntargets: [digits]\n"
        "tasks: [{name: fine-tuning, labels: 2}]\nbackbones: [{name: mlp, hidden: [4]}]\n"
        f"strategies: {strategies}\nseeds: 1\nrecipe: {{steps: 2}}\n"
    )
    return str(path)


def test_a_list_of_inner_strategies_is_a_grid_and_each_is_labelled_by_what_it_is_around(
    plugins: Plugins, tmp_path: Path
) -> None:
    matrix = suite(tmp_path, "[{name: around, of: [scratch, {name: fine-tune, lr: 0.5}]}]")
    run = Run.of(matrix, plugins, Options(cache=tmp_path, out=tmp_path / "run"))
    assert [s.label for s in run.suite.strategies] == ["around(of=scratch)", "around(of=fine-tune(lr=0.5))"]


def test_a_suite_names_the_line_of_a_wrong_inner_strategy(plugins: Plugins, tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as error:
        Run.of(suite(tmp_path, "[{name: around, of: scrtch}]"), plugins, Options(cache=tmp_path))
    assert "suite.yaml:7" in error.value.problems[0]
    assert "Did you mean 'scratch'" in error.value.problems[0]


def test_the_code_of_an_inner_strategy_is_in_the_fingerprint(plugins: Plugins, tmp_path: Path) -> None:
    matrix = suite(tmp_path, "[{name: around, of: [fine-tune, l2-sp]}, fine-tune]")
    run = Run.of(matrix, plugins, Options(cache=tmp_path, out=tmp_path / "run"))
    prints = {t.strategy.label: t.fingerprint for t in run.plan({}).trials}
    assert prints["around(of=fine-tune)"] != prints["around(of=l2-sp)"]
