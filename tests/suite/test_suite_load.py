"""Loading a suite: what it means, and that everything that is wrong with it is said at once and in its place."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbench.api.trials import PRETRAINED
from tlbench.errors import SuiteError
from tlbench.plugins import Plugins
from tlbench.suite.files import shipped
from tlbench.suite.load import load

Write = Callable[..., Path]

SMALL = """\
tlbench: 1
sources: [grid]
targets: [dots]
tasks: labelled
backbones: [net]
strategies: [tune]
"""


def problems(path: Path, plugins: Plugins) -> list[str]:
    """The problems of a suite, without the folder of the file."""
    with pytest.raises(SuiteError) as caught:
        load(path, plugins)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def labels(choices: tuple[object, ...]) -> list[str]:
    return [choice.label for choice in choices]  # type: ignore[attr-defined]


def test_a_small_suite_takes_its_defaults(write: Write, plugins: Plugins) -> None:
    suite = load(write(SMALL, "small.yaml"), plugins)
    assert suite.name == "small"
    assert suite.seeds == (0, 1, 2)
    assert suite.metrics == ("accuracy",)
    assert suite.recipe.params["batch_size"] == 64
    assert suite.source_recipe.digest == suite.recipe.digest
    assert labels(suite.tasks) == ["labelled"]
    assert suite.strategies[0].params == {"alpha": 0.1, "mode": "all", "layers": []}
    assert [(s.label, t.label) for s, t in suite.pairs] == [("grid", "dots")]
    assert (suite.data_root, suite.timeout, suite.base) == (None, None, suite.path.parent)


def test_local_names_label_their_data_sets_and_hide_their_parameters(write: Write, plugins: Plugins) -> None:
    text = SMALL + "datasets: {white: {name: grid, shift: inverted}, grid: {name: grid, classes: [0, 1]}}\n"
    text = text.replace(
        "sources: [grid]", "sources: [white, grid, {name: white, classes: [3]}, {name: dots, label: d}]"
    )
    suite = load(write(text), plugins)
    assert labels(suite.sources) == ["white", "grid", "white(classes=[3])", "d"]
    assert [source.params.get("shift") for source in suite.sources] == ["inverted", "none", "inverted", None]
    assert suite.sources[2].params["classes"] == [3]


def test_a_list_is_a_grid_and_its_values_are_in_the_labels(write: Write, plugins: Plugins) -> None:
    entry = "{name: tune, alpha: [0.01, 1], mode: head, layers: [1, 2]}, {name: zero, label: from zero, lr: [1, 2]}"
    suite = load(write(changed("[tune]", f"[{entry}]")), plugins)
    assert labels(suite.strategies) == [
        "tune(alpha=0.01,mode=head,layers=[1,2])".replace(",m", ", m").replace(",l", ", l"),
        "tune(alpha=1, mode=head, layers=[1,2])",
        "from zero(lr=1)",
        "from zero(lr=2)",
    ]
    assert suite.strategies[1].params == {"alpha": 1.0, "mode": "head", "layers": [1, 2]}


def test_sources_and_targets_make_all_pairs_but_those_of_a_data_set_with_itself(write: Write, plugins: Plugins) -> None:
    text = changed("sources: [grid]\ntargets: [dots]", "sources: [grid, dots, pretrained]\ntargets: [dots, grid]")
    pairs = [(s.label, t.label) for s, t in load(write(text), plugins).pairs]
    assert sorted(pairs) == [("dots", "grid"), ("grid", "dots"), (PRETRAINED, "dots"), (PRETRAINED, "grid")]


def test_listed_pairs_are_taken_as_they_are(write: Write, plugins: Plugins) -> None:
    text = changed(
        "sources: [grid]\ntargets: [dots]", "pairs:\n  - [dots, dots]\n  - [{name: grid, shift: rotated}, dots]"
    )
    suite = load(write(text), plugins)
    assert [(s.label, t.label) for s, t in suite.pairs] == [("dots", "dots"), ("grid(shift=rotated)", "dots")]
    assert (labels(suite.sources), labels(suite.targets)) == (["dots", "grid(shift=rotated)"], ["dots"])


def test_the_source_recipe_differs_only_where_it_says_so(write: Write, plugins: Plugins) -> None:
    suite = load(write(SMALL + "recipe: {steps: 50, lr: 1e-2}\nsource_recipe: {epochs: 2}\n"), plugins)
    first, other = suite.recipe.params, suite.source_recipe.params
    assert (first["steps"], first["epochs"], first["lr"]) == (50, None, 0.01)
    assert (other["steps"], other["epochs"], other["lr"]) == (None, 2.0, 0.01)


def test_all_problems_come_at_once_in_the_order_of_the_file(write: Write, plugins: Plugins) -> None:
    text = """\
tlbench: 1
descripton: a slip
sources: [gird, {name: grid, shft: inverted}, {name: grid, shift: inverse}]
targets: [pretrained]
tasks: [{name: labelled, labels: []}]
backbones: [{size: 3}]
strategies:
  - tune
  - {name: tune, alpha: [0.5, abc]}
  - name: align
    weigth: 2
seeds: [0, 1, 0, -1]
recipe: {steps: 0, learning_rate: 1}
source_recipe: {lr: [1, 2]}
metrics: [acuracy]
include: [{strategy: aling}, {stratgy: tune}]
timeout: no
"""
    found = problems(write(text), plugins)
    expected = [
        r"suite.yaml:2:1: unknown key 'descripton'. Did you mean 'description'\?",
        r"suite.yaml:3:11: unknown data ?set 'gird'. Did you mean 'grid'\?",
        r"suite.yaml:3:30: unknown parameter 'shft' of data ?set 'grid'. Did you mean 'shift'\?",
        r"suite.yaml:3:67: parameter 'shift' of data ?set 'grid': .*'inverse'.*Did you mean 'inverted'\?",
        r"suite.yaml:4:11: 'pretrained' .* can be a source only",
        r"suite.yaml:5:34: parameter 'labels' of task 'labelled': an empty list is no grid",
        r"suite.yaml:6:13: a backbone written as a mapping needs 'name'",
        r"suite.yaml:9:31: parameter 'alpha.*' of strategy 'tune': expected .*number.*'abc'",
        r"suite.yaml:11:5: unknown parameter 'weigth' of strategy 'align'. Did you mean 'weight'\?",
        r"suite.yaml:12:15: the seed 0 is there already",
        r"suite.yaml:12:18: expected a whole number from 0 on, got the number -1",
        r"suite.yaml:13:20: unknown parameter 'learning_rate' of the recipe",
        r"suite.yaml:14:21: a recipe has no grids",
        r"suite.yaml:15:11: unknown metric 'acuracy'. Did you mean 'accuracy'\?",
        r"suite.yaml:16:22: unknown strategy 'aling'. Did you mean 'align'\?",
        r"suite.yaml:16:31: unknown axis 'stratgy'. Did you mean 'strategy'\?",
        r"suite.yaml:17:10: expected a positive number of seconds, got the boolean false \(written no;",
    ]
    places = [line.split(": ")[0] for line in found]
    assert places == sorted(places, key=lambda place: [int(n) for n in place.split(":")[1:3]])
    missing = [pattern for pattern in expected if not any(re.match(pattern, line) for line in found)]
    assert not missing, "\n".join(found)


def test_a_recipe_that_breaks_a_rule_is_refused_where_it_stands(write: Write, plugins: Plugins) -> None:
    (line,) = problems(write(SMALL + "source_recipe: {steps: 0}\n"), plugins)
    assert line == "suite.yaml:7:24: the recipe: steps must be at least 1, got 0"


def test_a_filter_may_name_a_choice_that_is_wrong_elsewhere(write: Write, plugins: Plugins) -> None:
    (line,) = problems(
        write(changed("[tune]", "[tune, {name: align, wait: 1}]") + "exclude: [{strategy: align}]\n"), plugins
    )
    assert line.startswith("suite.yaml:6:34: unknown parameter 'wait'")


def test_what_is_missing_is_said(write: Write, plugins: Plugins) -> None:
    found = "\n".join(problems(write("name: nothing\n"), plugins))
    for key in ("tlbench", "sources", "targets", "tasks", "backbones", "strategies"):
        assert f"the key '{key}' is missing" in found


@pytest.mark.parametrize("version", ["2", "true", "'1'", "1.5"])
def test_another_version_of_the_format_is_refused(version: str, write: Write, plugins: Plugins) -> None:
    (line,) = problems(write(changed("tlbench: 1", f"tlbench: {version}")), plugins)
    assert line.startswith("suite.yaml:1:10: this tlbench reads format 1, not ")


def test_a_boolean_that_was_meant_as_a_name_says_how_to_quote_it(write: Write, plugins: Plugins) -> None:
    (line,) = problems(write(changed("[tune]", "[tune, no]")), plugins)
    assert line == (
        "suite.yaml:6:20: expected a strategy's name, got the boolean false "
        '(written no; where text is meant, quote it: "no")'
    )
    (line,) = problems(write(changed("[tune]", "[{name: tune, mode: on}]")), plugins)
    assert line.startswith("suite.yaml:6:33: parameter 'mode' of strategy 'tune'")
    assert line.endswith('(written on; where text is meant, quote it: "on")')
    (line,) = problems(write(changed("[tune]", "[{name: tune, label: 5}]")), plugins)
    assert line.endswith('expected a label, which is text, got the number 5; where text is meant, quote it: "5"')


def test_repeats_are_refused_with_both_places(write: Write, plugins: Plugins) -> None:
    (line,) = problems(write(changed("[tune]", "[tune, {name: tune, alpha: 0.1}]")), plugins)
    assert line == "suite.yaml:6:20: strategy 'tune(alpha=0.1)' is there already, in line 6 (there called 'tune')"
    found = problems(write(changed("[grid]", "[grid,\n  grid]")), plugins)
    assert found == ["suite.yaml:3:3: source 'grid' is there already, in line 2"]


def test_one_label_for_two_things_is_refused(write: Write, plugins: Plugins) -> None:
    (line,) = problems(write(changed("[tune]", "[tune, {name: align, label: tune}]")), plugins)
    assert line.startswith("suite.yaml:6:20: strategy label 'tune' stands for something else in line 6")
    (line,) = problems(write(changed("[grid]", "[{name: grid, label: dots}]")), plugins)
    assert re.match("suite.yaml:3:11: data ?set label 'dots' stands for something else in line 2", line)


def test_pairs_and_sources_exclude_each_other(write: Write, plugins: Plugins) -> None:
    found = problems(write(SMALL + "pairs: [[grid, dots]]\n"), plugins)
    assert [line.split(":")[1] for line in found] == ["2", "3"]
    assert all("exclude each other" in line for line in found)


@pytest.mark.parametrize(
    "pairs", ["[grid, dots]", "[[grid]]", "grid", "[[grid, dots], [grid, dots]]", "[[dots, pretrained]]", "[]"]
)
def test_pairs_that_are_none_are_refused(pairs: str, write: Write, plugins: Plugins) -> None:
    text = changed("sources: [grid]\ntargets: [dots]\n", f"pairs: {pairs}\n")
    assert all(line.startswith("suite.yaml:2:") for line in problems(write(text), plugins))


def test_a_grid_of_a_million_points_is_refused_and_not_expanded(write: Write, plugins: Plugins) -> None:
    numbers = ", ".join(str(n / 2) for n in range(1000))
    modes = ", ".join(["head"] * 1000)
    entry = f"{{name: tune, alpha: [{numbers}], mode: [{modes}]}}"
    (line,) = problems(write(changed("[tune]", f"[{entry}]")), plugins)
    assert "1000000 combinations" in line


def test_filters_take_labels_and_the_names_behind_them(write: Write, plugins: Plugins) -> None:
    text = changed("[tune]", "[{name: tune, alpha: [1, 2]}, align]")
    text += (
        "include: [{strategy: tune}, {strategy: ['tune(alpha=2)', zero], seed: [0, 2]}]\nexclude: [{target: dots}]\n"
    )
    suite = load(write(text), plugins)
    both = {"tune(alpha=1)", "tune(alpha=2)"}
    assert suite.include == ({"strategy": both}, {"strategy": {"tune(alpha=2)", "zero"}, "seed": {0, 2}})
    assert suite.exclude == ({"target": {"dots"}},)


def test_a_seed_that_the_suite_does_not_have_cannot_be_excluded(write: Write, plugins: Plugins) -> None:
    (line,) = problems(write(SMALL + "exclude: [{seed: 3}]\n"), plugins)
    assert line == "suite.yaml:7:18: the seed 3 is not among the suite's: 0, 1, 2"


# ---- files ---------------------------------------------------------------------------------------


def test_a_suite_extends_others_and_its_own_keys_count(write: Write, plugins: Plugins, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(SMALL + "data_root: data\nseeds: 5\nrecipe: {steps: 7}\n", "base/common.yaml")
    path = write("extends: base/common.yaml\nname: mine\nrecipe: {lr: 0.5}\n", "mine.yaml")
    suite = load(path, plugins)
    assert (suite.name, len(suite.seeds)) == ("mine", 5)
    assert (suite.recipe.params["steps"], suite.recipe.params["lr"]) == (None, 0.5)
    assert suite.data_root == (tmp_path / "base" / "data").resolve()
    assert suite.base == tmp_path.resolve()


def test_a_problem_in_an_extended_file_is_said_to_be_there(write: Write, plugins: Plugins) -> None:
    write(changed("[tune]", "[tone]"), "common.yaml")
    (line,) = problems(write("extends: [common.yaml]\nseeds: 1\n"), plugins)
    assert line.startswith("common.yaml:6:14: unknown strategy 'tone'. Did you mean 'tune'?")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (None, "there is no such file"),
        ("extends: suite.yaml\n", "the two extend each other"),
        ("extends: third.yaml\n", "only one level of 'extends' is read"),
        ("- 1\n", "a suite is a mapping"),
    ],
)
def test_what_cannot_be_extended_is_said(other: str | None, message: str, write: Write, plugins: Plugins) -> None:
    if other is not None:
        write(other, "other.yaml")
    found = problems(write("extends: other.yaml\n" + SMALL), plugins)
    assert message in "\n".join(found)
    assert "suite.yaml" in "\n".join(found)


def test_a_suite_cannot_extend_itself(write: Write, plugins: Plugins) -> None:
    (line,) = problems(write("extends: ./suite.yaml\n" + SMALL), plugins)
    assert line == "suite.yaml:1:10: './suite.yaml' is this file; a suite cannot extend itself"


def test_an_unknown_name_suggests_the_nearest_shipped_suite(plugins: Plugins) -> None:
    with pytest.raises(SuiteError, match=r"no shipped suite of this name. Did you mean the shipped suite 'quick'\?"):
        load("quik", plugins)
    with pytest.raises(SuiteError, match="there is no such file"):
        load("somewhere/quik", plugins)


def test_the_suites_that_come_along_are_sound_and_state_what_they_expect() -> None:
    everything = Plugins.discover()
    if "dann" not in everything.offers("strategies"):
        pytest.skip("needs the distribution tlbench-adaptation")
    benchmarks = Path(__file__).parents[2] / "benchmarks" / "suites"
    found = [*shipped(), *(str(path) for path in sorted(benchmarks.glob("*.yaml")))]
    assert {"quick", "digits"} <= set(found)
    for suite in (load(name, everything) for name in found):
        assert len(suite.expect) > 100
        assert len(suite.description) > 50
        assert len(suite.seeds) >= (3 if suite.path.parent.name == "shipped" else 1)


def test_a_suite_that_needs_a_broken_plugin_fails_with_its_reason(tmp_path: Path, write: Write) -> None:
    (tmp_path / "broken_toys.py").write_text("raise RuntimeError('the toys are broken')\n")
    toys = Path(__file__).parent / "toy_plugin.py"
    extra = [str(toys), str(tmp_path / "broken_toys.py")]
    plugins = Plugins.discover(extra=extra, entry_points=False, blocked=["builtin"])
    found = "\n".join(problems(write(changed("[tune]", "[tuner]")), plugins))
    assert "unknown strategy 'tuner'" in found
    assert "the toys are broken" in found


# ---- whatever is written, only SuiteError comes back ----------------------------------------------

entries = st.recursive(
    st.sampled_from(
        ["grid", "dots", "tune", "net", "labelled", "pretrained", "", "no", 0, 1, -1, 1.5, None, True, "x\u202e"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "label", "alpha", "shift", "seed", "strategy", "steps"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
KEYS = [
    *("tlbench", "name", "expect", "data_root", "extends", "datasets", "sources", "targets", "pairs", "tasks"),
    *(
        "backbones",
        "strategies",
        "seeds",
        "recipe",
        "source_recipe",
        "metrics",
        "include",
        "exclude",
        "timeout",
        "other",
    ),
]


@given(st.dictionaries(st.sampled_from(KEYS), entries, max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mapping_is_a_suite_or_a_suite_error(write: Write, plugins: Plugins, data: dict[str, object]) -> None:
    path = write(json.dumps({**yaml.safe_load(SMALL), **data}))
    with contextlib.suppress(SuiteError):
        load(path, plugins)
