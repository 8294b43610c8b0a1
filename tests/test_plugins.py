"""The plugin host, against real distributions, real entry points and really broken modules."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tlbench import PluginError
from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.plugins import KINDS, Plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEAD = """
from dataclasses import dataclass
from typing import ClassVar
from tlbench import hookimpl
"""


def strategy(name: str, class_name: str = "Method", extra: str = "") -> str:
    return f'''
@dataclass(frozen=True)
class {class_name}:
    """A method for a test."""
    name: ClassVar[str] = "{name}"
    needs: ClassVar[frozenset[str]] = frozenset({{"target"}})
    alpha: float = 0.1
    steps: int | None = None
    {extra}
    def fit(self, ctx):
        return None
'''


def offering(*class_names: str) -> str:
    return f"\n@hookimpl\ndef tlbench_strategies():\n    return [{', '.join(class_names)}]\n"


GOOD = HEAD + strategy("good") + offering("Method")


@pytest.fixture(autouse=True)
def small_builtin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A built-in plugin of one strategy, and no module left behind."""
    before = set(sys.modules)
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "small_builtin.py").write_text(HEAD + strategy("fine-tune") + offering("Method"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr("tlbench.discovery.loading.BUILTIN", "small_builtin")
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("small_builtin", "tlp_", "tlbench_file_")):
            del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a distribution with one module and an entry point on the path, as an installer would."""

    def put(
        name: str, source: str, *, version: str = "1.0", point: str = "", points: str = "", module: str = ""
    ) -> Path:
        site = tmp_path / "site" / name
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        module = module or f"tlp_{name.replace('-', '_')}"
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(points or f"[tlbench]\n{point or name} = {module}\n")
        monkeypatch.syspath_prepend(site)
        return site / f"{module}.py"

    return put


def entry(plugins: Plugins, name: str):
    return next(e for e in plugins.entries() if e.name == name)


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


# ---- what works ----------------------------------------------------------------------------------


def test_an_installed_plugin_is_discovered_with_its_distribution_and_version(install):
    install("good-one", GOOD, version="2.5")
    plugins = Plugins.discover()
    offer = plugins.get("strategies", "good")
    assert (offer.plugin, offer.distribution, offer.version) == ("good-one", "good-one", "2.5")
    found = entry(plugins, "good-one")
    assert (found.status, found.origin, found.offers) == ("ok", "entry point", (("strategies", "good"),))
    assert entry(plugins, "builtin").origin == "built-in"


def test_hooks_run_only_when_their_kind_is_asked_for(install):
    install(
        "lazy",
        HEAD + strategy("lazy-one") + offering("Method").replace("    return", "    import tlp_heavy\n    return"),
    )
    (path := install("heavy", "", points="[other]\n")).write_text("")
    plugins = Plugins.discover()
    assert path.is_file()
    assert "tlp_heavy" not in sys.modules
    plugins.offers("metrics")
    assert "tlp_heavy" not in sys.modules
    plugins.offers("strategies")
    assert "tlp_heavy" in sys.modules


def test_importing_the_host_and_discovering_import_nothing_heavy(install):
    code = (
        "import sys, tlbench.plugins as p; p.Plugins.discover(entry_points=False);"
        "print([m for m in ('torch', 'numpy', 'pandas', 'pydantic', 'rich', 'scipy', 'timm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_choice_holds_every_parameter_and_builds_the_same_instance(install):
    install("good-one", GOOD)
    plugins = Plugins.discover()
    choice = plugins.choice("strategies", "good", {"alpha": 1})
    assert choice == Choice("good", "good", {"alpha": 1.0, "steps": None})
    made = plugins.instantiate("strategies", Choice.from_json(json.loads(json.dumps(choice.to_json()))))
    assert (made.alpha, made.steps) == (1.0, None)
    assert plugins.choice("strategies", "good", {}, label="mine").label == "mine"


def test_wrong_parameters_name_the_strategy(install):
    install("good-one", GOOD)
    with pytest.raises(PluginError, match=r"unknown parameter 'alhpa' of strategy 'good'. Did you mean 'alpha'\?"):
        Plugins.discover().build("strategies", "good", {"alhpa": 1})
    (problem,) = Plugins.discover().problems("strategies", "good", {"alpha": [0.1, "x"]})
    assert problem == (("alpha", 1), "parameter 'alpha' of strategy 'good': expected a number, got 'x'")


# ---- what does not -------------------------------------------------------------------------------

BROKEN = {
    "raises": ("import os\nraise RuntimeError('no luck')\n", "RuntimeError: no luck", "raise RuntimeError"),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit: 3", "sys.exit(3)"),
    "absent": (
        "import os\nimport no_such_module_at_all\n",
        "No module named 'no_such_module_at_all'",
        "import no_such",
    ),
    "syntax": ("x = 1\ndef f(:\n", "SyntaxError", "def f(:"),
    "deeper": ("import json\ndef f():\n    return json.loads('{')\nf()\n", "JSONDecodeError", "return json.loads"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_plugin_that_raises_on_import_is_listed_with_its_line_and_the_others_go_on(case, install):
    source, reason, culprit = BROKEN[case]
    path = install("aaa-broken", source)
    install("zzz-good", GOOD)
    plugins = Plugins.discover()
    found = entry(plugins, "aaa-broken")
    assert (found.status, found.distribution, found.offers) == ("broken", "aaa-broken", ())
    assert reason in found.reasons[0]
    assert f"{path}:{line_of(path, culprit)}" in found.reasons[0]
    assert plugins.get("strategies", "good").distribution == "zzz-good"
    with pytest.raises(PluginError, match="unknown strategy 'missing'") as error:
        plugins.get("strategies", "missing")
    assert "'aaa-broken' (aaa-broken 1.0): does not load" in str(error.value)
    assert reason in str(error.value)


def test_ctrl_c_while_a_plugin_loads_is_not_swallowed(install):
    install("interrupts", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        Plugins.discover()


def test_a_misspelt_hook_names_the_nearest(install):
    install("misspelt", GOOD.replace("tlbench_strategies", "tlbench_strategys"))
    found = entry(Plugins.discover(), "misspelt")
    assert found.reasons == ("unknown hook 'tlbench_strategys'. Did you mean 'tlbench_strategies'?",)
    assert found.status == "broken"


def test_a_hook_with_an_argument_that_does_not_exist_is_a_reason(install):
    install("argued", GOOD.replace("tlbench_strategies()", "tlbench_strategies(registry)"))
    assert "registry" in entry(Plugins.discover(), "argued").reasons[0]


def test_a_forgotten_hookimpl_is_a_reason(install):
    install("unmarked", GOOD.replace("@hookimpl\n", ""))
    assert entry(Plugins.discover(), "unmarked").reasons == ("tlbench_strategies is not marked with @tlbench.hookimpl",)


def test_another_plugin_api_is_refused(install):
    install("tomorrow", GOOD + "\nTLBENCH_API = 2\n")
    install("today", GOOD + "\nTLBENCH_API = 1\n")
    plugins = Plugins.discover()
    assert entry(plugins, "tomorrow").reasons == ("it is written for plugin API 2; this tlbench has 1",)
    assert entry(plugins, "today").status == "ok"


def test_a_raising_hook_costs_its_own_kind_only(install):
    source = GOOD + (
        "\n@hookimpl\ndef tlbench_metrics():\n    raise ValueError('no metric today')\n"
        "\n@hookimpl\ndef tlbench_tasks():\n    import sys; sys.exit(1)\n"
    )
    path = install("half", source)
    plugins = Plugins.discover()
    found = entry(plugins, "half")
    assert found.offers == (("strategies", "good"),)
    assert found.status == "broken"
    place = f"({path}:{line_of(path, 'no metric')})"
    assert f"tlbench_metrics raised ValueError: no metric today {place}" in found.reasons
    assert any("tlbench_tasks raised SystemExit: 1" in reason for reason in found.reasons)
    with pytest.raises(PluginError, match="no metric today"):
        plugins.get("metrics", "accuracy")
    with pytest.raises(PluginError) as error:
        plugins.get("strategies", "goood")
    assert "no metric today" not in str(error.value)  # a metric would not have helped


WRONG_CLASSES = {
    "not a list": (GOOD.replace("return [Method]", "return Method"), "must return a list of classes, got type"),
    "a generator": (GOOD.replace("return [Method]", "yield Method"), "must return a list of classes, got generator"),
    "none": (GOOD.replace("return [Method]", "return None"), "must return a list of classes, got NoneType"),
    "an instance": (GOOD.replace("[Method]", "[Method()]"), "must return classes, got Method"),
    "not frozen": (GOOD.replace("@dataclass(frozen=True)", "@dataclass"), "Method is not decorated with"),
    "not a dataclass": (GOOD.replace("@dataclass(frozen=True)", ""), "Method is not decorated with"),
    "no name": (GOOD.replace('name: ClassVar[str] = "good"', ""), "Method has no name"),
    "name as a field": (GOOD.replace("name: ClassVar[str]", "name: str"), "'name' became a parameter"),
    "a field label": (GOOD.replace("    def fit", "    label: str = ''\n\n    def fit"), "can be called 'label'"),
    "bad name": (GOOD.replace('"good"', '"goo d"'), "Method has no name"),
    "no method": (GOOD.replace("def fit", "def fitt"), "strategy 'good' (Method) has no method 'fit'"),
    "no needs": (GOOD.replace("needs:", "wants:"), "does not say 'needs'"),
    "needs as text": (GOOD.replace('frozenset({"target"})', '"target"'), "'needs' must be a frozenset of names"),
    "odd start": (GOOD.replace("needs:", 'start: ClassVar[str] = "sauce"\n    needs:'), "Did you mean 'source'?"),
    "odd type": (GOOD.replace("alpha: float", "alpha: complex"), "parameter 'alpha' has the type complex"),
    "lost type": (GOOD.replace("alpha: float", "alpha: 'Tensor'"), "cannot be resolved (name 'Tensor' is not defined)"),
    "wrong default": (GOOD.replace("0.1", "'x'"), "parameter 'alpha' of 'good': expected a number, got 'x'"),
    "raising metaclass": (
        HEAD + "class M(type):\n    @property\n    def name(cls):\n        1 / 0\n\nclass Method(metaclass=M):\n"
        + "    pass\n"
        + offering("Method"),
        "cannot be checked: ZeroDivisionError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_CLASSES)
def test_a_class_of_the_wrong_shape_is_refused_with_the_reason(case, install):
    source, reason = WRONG_CLASSES[case]
    install("wrong", source)
    plugins = Plugins.discover()
    found = entry(plugins, "wrong")
    assert (found.status, found.offers) == ("broken", ())
    assert reason in found.reasons[0]
    assert set(plugins.offers("strategies")) >= {"fine-tune"}


def test_one_wrong_class_does_not_cost_its_neighbours(install):
    install(
        "mixed",
        HEAD + strategy("good") + strategy("bad", "Bad").replace("def fit", "def fitt") + offering("Bad", "Method"),
    )
    found = entry(Plugins.discover(), "mixed")
    assert found.offers == (("strategies", "good"),)
    assert len(found.reasons) == 1


def test_entry_points_that_are_no_ini_cost_that_distribution_only(install):
    install("garbled", GOOD, points="[tlbench]\nthis line has no equals sign\n")
    install("good-one", GOOD)
    plugins = Plugins.discover()
    assert "entry_points.txt cannot be read" in entry(plugins, "garbled").reasons[0]
    assert plugins.get("strategies", "good").distribution == "good-one"


def test_what_a_plugin_prints_does_not_reach_our_output(install, capsys):
    install("chatty", GOOD.replace("    return [", "    print('hook')\n    return [") + "\nprint('import')\n")
    Plugins.discover().entries()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "import\nhook\n"


def test_a_reason_holds_no_control_characters(install):
    install("escapes", "raise RuntimeError('\\x1b[31mred\\x07\\nsecond line')\n")
    (reason,) = entry(Plugins.discover(), "escapes").reasons
    assert "\\x1b[31mred\\x07 second line" in reason
    assert reason.isprintable()


# ---- conflicts -----------------------------------------------------------------------------------


def test_a_name_that_two_distributions_offer_is_refused_where_it_is_used(install):
    install("bbb", GOOD, version="2.0")
    install("aaa", GOOD)
    install("ccc", HEAD + strategy("other") + offering("Method"))
    plugins = Plugins.discover()
    (reason,) = entry(plugins, "bbb").reasons
    assert "aaa 1.0" in reason
    assert "bbb 2.0" in reason
    assert entry(plugins, "aaa").offers == (("strategies", "good"),)
    assert entry(plugins, "bbb").offers == ()
    with pytest.raises(PluginError) as error:
        plugins.get("strategies", "good")
    for text in ("aaa 1.0", "bbb 2.0", "-p no:aaa", "-p no:bbb"):
        assert text in str(error.value)
    assert plugins.get("strategies", "other").plugin == "ccc"


def test_blocking_one_of_two_rivals_settles_it(install):
    install("bbb", GOOD)
    install("aaa", GOOD)
    plugins = Plugins.discover(extra=["no:aaa"])
    assert plugins.get("strategies", "good").distribution == "bbb"
    found = entry(plugins, "aaa")
    assert (found.status, found.reasons) == ("blocked", ("blocked with -p no:aaa",))


def test_rivals_whose_entry_points_share_a_name_are_told_apart_by_their_distributions(install):
    install("bbb", GOOD, point="same")
    install("aaa", GOOD, point="same")
    with pytest.raises(PluginError, match="-p no:aaa or -p no:bbb"):
        Plugins.discover().get("strategies", "good")
    assert Plugins.discover(blocked=["bbb"]).get("strategies", "good").distribution == "aaa"


def test_the_built_in_keeps_its_name_against_an_intruder(install):
    install("aaa-intruder", HEAD + strategy("fine-tune") + offering("Method"))
    plugins = Plugins.discover()
    assert plugins.get("strategies", "fine-tune").distribution == "tlbench"
    (reason,) = entry(plugins, "aaa-intruder").reasons
    assert "aaa-intruder 1.0" in reason
    assert "is refused: tlbench " in reason


def test_a_plugin_that_offers_one_name_twice_keeps_the_first(install):
    install("twice", HEAD + strategy("good") + strategy("good", "Second") + offering("Method", "Second"))
    plugins = Plugins.discover()
    assert plugins.get("strategies", "good").cls.__name__ == "Method"
    assert entry(plugins, "twice").status == "broken"


def test_an_older_copy_further_down_the_path_is_not_a_rival(install):
    install("Good_one", GOOD, version="1.0", module="tlp_older")
    install("good-one", GOOD, version="2.0")
    assert Plugins.discover().get("strategies", "good").version == "2.0"
    assert "tlp_older" not in sys.modules


# ---- -p and --no-plugins -------------------------------------------------------------------------


def test_a_loose_file_is_a_plugin(tmp_path):
    path = tmp_path / "my method.py"
    path.write_text(GOOD)
    plugins = Plugins.discover(extra=[str(path)])
    found = entry(plugins, "my method")
    assert (found.origin, found.distribution, found.status) == ("file", "my method.py", "ok")
    assert plugins.build("strategies", "good", {}).alpha == 0.1
    assert plugins.get("strategies", "good").cls.__module__.startswith("tlbench_file_my_method_")


def test_a_loose_file_with_postponed_annotations_resolves_them(tmp_path):
    (tmp_path / "later.py").write_text("from __future__ import annotations\n" + GOOD)
    assert Plugins.discover(extra=[str(tmp_path / "later.py")]).build("strategies", "good", {"steps": 3}).steps == 3


def test_a_loose_file_that_raises_is_listed_not_fatal(tmp_path):
    path = tmp_path / "sad.py"
    path.write_text("\n\nraise OSError('sad')\n")
    found = entry(Plugins.discover(extra=[str(path)]), "sad")
    assert found.reasons == (f"does not load: OSError: sad ({path}:3)",)


def test_a_path_or_module_that_does_not_exist_is_an_error_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(GOOD)
    with pytest.raises(PluginError, match="there is no such file"):
        Plugins.discover(extra=["./nowhere.py"])
    with pytest.raises(PluginError, match=r"there is no such module. Did you mean './mine.py'\?"):
        Plugins.discover(extra=["mine"])
    with pytest.raises(PluginError, match=r"not a \.py file"):
        Plugins.discover(extra=[str(tmp_path)])


def test_a_dotted_module_is_a_plugin_once_even_if_it_is_installed_too(install):
    install("good-one", GOOD)
    plugins = Plugins.discover(extra=["tlp_good_one"])
    assert [e.name for e in plugins.entries() if "good" in e.name] == ["good-one"]
    assert entry(plugins, "good-one").status == "ok"
    alone = Plugins.discover(extra=["tlp_good_one"], entry_points=False)
    assert entry(alone, "tlp_good_one").offers == (("strategies", "good"),)


def test_without_plugins_the_installed_ones_are_listed_and_not_imported(install):
    install("good-one", GOOD)
    plugins = Plugins.discover(entry_points=False)
    assert "tlp_good_one" not in sys.modules
    assert entry(plugins, "good-one").status == "blocked"
    with pytest.raises(PluginError, match=r"'good-one' \(good-one 1.0\) was not loaded: blocked with --no-plugins"):
        plugins.get("strategies", "good")


def test_a_blocked_plugin_is_not_imported(install):
    install("good-one", GOOD)
    plugins = Plugins.discover(extra=["no:good-one"])
    assert "tlp_good_one" not in sys.modules
    assert entry(plugins, "good-one").offers == ()


def test_blocking_an_unknown_plugin_suggests_the_nearest(install):
    install("good-one", GOOD)
    with pytest.raises(PluginError, match=r"there is no plugin 'god-one'. Did you mean 'no:good-one'\?"):
        Plugins.discover(extra=["no:god-one"])


def test_another_process_finds_the_same_plugins_from_the_spec(tmp_path, monkeypatch, install):
    install("good-one", GOOD)
    (tmp_path / "loose.py").write_text(HEAD + strategy("loose-one") + offering("Method"))
    monkeypatch.chdir(tmp_path)
    plugins = Plugins.discover(extra=["./loose.py", "no:good-one"], entry_points=True)
    spec = json.loads(json.dumps(plugins.spec))
    code = (
        "import json, sys; from tlbench.discovery import loading; loading.BUILTIN = 'small_builtin';"
        f"sys.path[:0] = {sys.path[:4]!r};"
        "from tlbench.plugins import Plugins; p = Plugins.from_spec(json.loads(sys.argv[1]));"
        "print(json.dumps([sorted(p.offers('strategies')), p.fingerprint('strategies', 'loose-one')]))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, json.dumps(spec)], capture_output=True, text=True, check=True, cwd="/"
    )
    assert json.loads(out.stdout) == [
        sorted(plugins.offers("strategies")),
        plugins.fingerprint("strategies", "loose-one"),
    ]


# ---- look-up, fingerprints, observers ------------------------------------------------------------


def test_an_unknown_name_suggests_the_nearest(install):
    with pytest.raises(PluginError, match=r"unknown strategy 'fine-tun'. Did you mean 'fine-tune'\?"):
        Plugins.discover().get("strategies", "fine-tun")
    with pytest.raises(PluginError, match=r"unknown kind of plugin 'strategy'. Did you mean 'strategies'\?"):
        Plugins.discover().offers("strategy")


def test_the_fingerprint_changes_with_source_and_version_and_with_nothing_else(install, tmp_path):
    prints = []
    for folder, source in (("a", GOOD), ("b", GOOD), ("c", GOOD + "\n# changed\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(source)
        prints.append(Plugins.discover(extra=[str(tmp_path / folder / "mine.py")]).fingerprint("strategies", "good"))
    assert prints[0] == prints[1] != prints[2]
    installed = []
    for version in ("1.0", "1.1"):
        install("good-one", GOOD, version=version) if version == "1.0" else None
        site = tmp_path / "site" / "good-one"
        info = next(site.glob("*.dist-info"))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: good-one\nVersion: {version}\n")
        installed.append(Plugins.discover().fingerprint("strategies", "good"))
    assert installed[0] != installed[1]


def a_trial() -> tuple[Trial, Record]:
    choices = {k: Choice(k, k) for k in ("target", "task", "strategy", "backbone", "recipe")}
    trial = Trial(source=None, **choices, seed=0)
    return trial, Record(trial.key, Status.OK, trial.to_json(), metrics={"test": {"accuracy": 0.5}})


def test_every_observer_is_told_and_one_that_raises_becomes_a_warning(install):
    observer = (
        "from tlbench import hookimpl\nseen = []\n"
        "@hookimpl\ndef tlbench_trial_finished(record):\n    seen.append(record.metrics['test']['accuracy'])\n    {}\n"
    )
    path = install("aaa-raises", observer.format("raise RuntimeError('boo')"))
    install("bbb-exits", observer.format("raise SystemExit"))
    install("ccc-meddles", observer.format("record.metrics['test']['accuracy'] = 1.0"))
    install("ddd-looks", observer.format("pass"))
    plugins = Plugins.discover()
    trial, record = a_trial()
    warnings = plugins.trial_finished(trial, record)
    assert len(warnings) == 2
    assert "'aaa-raises' (aaa-raises 1.0): tlbench_trial_finished raised RuntimeError: boo" in warnings[0]
    assert str(path) in warnings[0]
    assert "bbb-exits" in warnings[1]
    assert sys.modules["tlp_ddd_looks"].seen == [0.5]  # not what the meddler wrote
    assert record.metrics == {"test": {"accuracy": 0.5}}


def test_every_kind_has_a_hook_of_its_name():
    from tlbench.api import hooks

    assert {f"tlbench_{kind}" for kind in KINDS} | {"tlbench_columns", "tlbench_trial_finished"} == {
        name for name in vars(hooks) if name.startswith("tlbench_")
    }


def test_an_offer_is_plain_to_read(install):
    offer = Plugins.discover().get("strategies", "fine-tune")
    assert offer.title == "strategy 'fine-tune'"
    assert dataclasses.is_dataclass(offer.cls)
