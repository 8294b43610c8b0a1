"""The catalogue: what it shows is all there, true, and harmless to a terminal."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from tlbench import PluginError
from tlbench import catalog as pages
from tlbench.errors import unknown
from tlbench.plugins import KINDS, Plugins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = '''
from dataclasses import dataclass
from typing import ClassVar
from tlbench import hookimpl

@dataclass(frozen=True)
class FineTune:
    """Trains everything.

    A long paragraph whose lines were broken for an editor of a hundred and twenty columns and not for a terminal of
    eighty.
    """
    name: ClassVar[str] = "fine-tune"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "source"})
    lr: float = 1.0
    """Multiplies the rate."""
    mode: str = "all of it"
    def fit(self, ctx): ...

@dataclass(frozen=True)
class Digits:
    """Digits as ``images``."""
    name: ClassVar[str] = "digits"
    where: str
    def load(self, cache): ...

@dataclass(frozen=True)
class Accuracy:
    name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    def score(self, scores, y): ...

@hookimpl
def tlbench_strategies():
    return [FineTune]

@hookimpl
def tlbench_datasets():
    return [Digits]

@hookimpl
def tlbench_metrics():
    return [Accuracy]
'''

HOSTILE = r'''
from dataclasses import dataclass
from typing import ClassVar
from tlbench import hookimpl

@dataclass(frozen=True)
class Evil:
    """[bold red]Loud[/bold red] \x1b[2J\x1b]0;title\x07 and [/nothing].

    More \x9b31m of it.
    """
    name: ClassVar[str] = "digits"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "\x1b[5m"})
    text: str = "[link=file:///etc]x[/link]\x1b[0m"
    """[reverse]doc\x1b[7m"""
    def fit(self, ctx): ...

@hookimpl
def tlbench_strategies():
    return [Evil]

@hookimpl
def tlbench_metrics():
    raise ValueError("[blink]\x1b[5m no")
'''


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    before = set(sys.modules)
    (tmp_path / "catalog_host.py").write_text(HOST)
    (tmp_path / "evil.py").write_text(HOSTILE)
    (tmp_path / "dead.py").write_text("raise RuntimeError('dead on arrival')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("tlbench.discovery.loading.BUILTIN", "catalog_host")
    files = [str(tmp_path / "evil.py"), str(tmp_path / "dead.py")]
    yield Plugins.discover(extra=files, entry_points=False)
    for name in set(sys.modules) - before:
        if name.startswith(("catalog_host", "tlbench_file_")):
            del sys.modules[name]


def shown(renderable: Any, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def everything(plugins: Plugins) -> list[Any]:
    return [
        pages.plugins_table(plugins),
        *(pages.list_table(plugins, kind) for kind in KINDS),
        pages.describe_text(plugins, "digits"),
        pages.describe_text(plugins, "fine-tune"),
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width, plugins):
    text = "\n".join(shown(page, width) for page in everything(plugins))
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for word in ("fine-tune", "digits", "accuracy", "tlbench", "dead on arrival", "Multiplies the rate."):
        assert word in text


def test_what_a_plugin_says_is_text_and_steers_nothing(plugins):
    text = "\n".join(shown(page) for page in everything(plugins))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    assert "[bold red]Loud[/bold red] \\x1b[2J" in text
    assert "[blink]\\x1b[5m no" in text
    assert "[reverse]doc\\x1b[7m" in text


def test_the_terminal_gets_no_colour_from_a_plugin(plugins, tmp_path):
    path = tmp_path / "out"
    with path.open("w") as file:
        console = Console(width=100, force_terminal=True, color_system="truecolor", file=file)
        for page in everything(plugins):
            console.print(page)
    ours = re.sub(r"\x1b\[[0-9;]*m", "", path.read_text())  # rich's own styles
    assert "\x1b" not in ours
    assert "\x9b" not in ours
    assert "file:///etc]x[/link]" in ours


def test_every_plugin_is_listed_with_its_status_and_reason(plugins):
    text = shown(pages.plugins_table(plugins))
    rows = {line.split()[0]: line for line in reversed(text.splitlines()) if line.strip()}
    assert "ok" in rows["builtin"]
    assert "1 strategy, 1 data set, 1 metric" in rows["builtin"]
    assert "broken" in rows["dead"]
    assert "RuntimeError: dead on arrival" in text
    listed = {p["name"]: p for p in json.loads(json.dumps(pages.plugins_json(plugins)))}
    assert listed["builtin"]["offers"] == {"strategies": ["fine-tune"], "datasets": ["digits"], "metrics": ["accuracy"]}
    assert listed["dead"]["status"] == "broken"
    assert "dead on arrival" in listed["dead"]["reasons"][0]
    assert listed["evil"]["offers"] == {"strategies": ["digits"]}


def test_a_list_has_parameters_defaults_doc_and_distribution(plugins):
    (found,) = [o for o in pages.list_json(plugins, "strategies") if o["name"] == "fine-tune"]
    assert found["about"] == "Trains everything."
    assert found["distribution"] == "tlbench"
    assert found["parameters"] == [
        {"name": "lr", "type": "float", "required": False, "default": 1.0, "doc": "Multiplies the rate."},
        {"name": "mode", "type": "str", "required": False, "default": "all of it", "doc": ""},
    ]
    text = shown(pages.list_table(plugins, "strategies"))
    for part in ("Trains everything.", "lr=1.0", 'mode="all of it"', "tlbench"):
        assert part in text
    assert "where (required)" in shown(pages.list_table(plugins, "datasets"))


def test_a_list_says_what_may_be_missing_from_it(plugins):
    metrics, tasks = shown(pages.list_table(plugins, "metrics"), 300), shown(pages.list_table(plugins, "tasks"), 300)
    assert "dead on arrival" in metrics
    assert "dead on arrival" in tasks
    assert "tlbench_metrics raised" in metrics
    assert "tlbench_metrics raised" not in tasks


def test_an_unknown_kind_suggests_the_nearest(plugins):
    for page in (pages.list_table, pages.list_json):
        with pytest.raises(PluginError, match=r"unknown kind of plugin 'metrix'. Did you mean 'metrics'\?"):
            page(plugins, "metrix")


def test_a_name_of_several_kinds_is_described_for_each(plugins, tmp_path):
    found = pages.describe_json(plugins, "digits")
    assert [(o["kind"], o["distribution"]) for o in found] == [("strategies", "evil.py"), ("datasets", "tlbench")]
    text = shown(pages.describe_text(plugins, "digits"))
    assert "digits  strategy, from evil.py" in text
    assert "digits  data set, from tlbench" in text
    assert "Digits as `images`." in text


def test_a_description_has_the_whole_docstring_the_facts_and_the_source(plugins, tmp_path):
    (found,) = pages.describe_json(plugins, "fine-tune")
    assert found["doc"].startswith("Trains everything.\n\nA long paragraph")
    assert found["facts"] == {"needs": ["source", "target"]}
    assert found["source"] == f"{tmp_path / 'catalog_host.py'}:6"
    text = shown(pages.describe_text(plugins, "fine-tune"), 120)
    assert "source, target" in text
    assert "catalog_host.py" in text
    assert "hundred and twenty columns and not for a terminal of eighty." in " ".join(text.split())
    (metric,) = pages.describe_json(plugins, "accuracy")
    assert metric["facts"] == {"higher_is_better": True}
    assert "It has no parameters." in shown(pages.describe_text(plugins, "accuracy"))


def test_an_unknown_name_suggests_the_nearest_of_any_kind(plugins):
    for page in (pages.describe_text, pages.describe_json):
        with pytest.raises(PluginError, match=r"unknown name 'acuracy'. Did you mean 'accuracy'\?") as error:
            page(plugins, "acuracy")
        assert "dead on arrival" in str(error.value)


def test_an_unknown_name_is_answered_with_all_names_or_of_many_with_the_nearest() -> None:
    assert unknown("task", "adaption", ["adaptation", "clustering"]) == (
        "unknown task 'adaption'. Did you mean 'adaptation'? Known: adaptation, clustering."
    )
    many = [f"method-{i}" for i in range(100)]
    answer = unknown("strategy", "method-7x", many)
    assert answer.startswith(
        "unknown strategy 'method-7x'. Did you mean 'method-7'? 100 are known, among them method-7"
    )
    assert len(answer) < 300
    assert "100 are known, among them method-0, method-1, " in unknown("strategy", "wholly other", many)
