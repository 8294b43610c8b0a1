"""``tlbench.load``: frames that agree with the board, a table that no name can break, errors that say what to do."""

from __future__ import annotations

import builtins
import html.parser
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tlbench
from tlbench.errors import StoreError, TlbenchError
from tlbench.results.store import RunFolder

FACTORY = Path(__file__).parent / "leaderboard/factory.py"


@pytest.fixture(scope="module")
def make() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(FACTORY)))


def stored(folder: Path, records: list[Any]) -> Path:
    with RunFolder(folder).writing() as writer:
        for record in records:
            writer.write(record)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, make: SimpleNamespace) -> Path:
    return stored(tmp_path_factory.mktemp("run") / "nightly", make.small_board())


def test_the_frames_are_the_boards_numbers(run: Path) -> None:
    found = tlbench.load(run, entry_points=False)
    assert set(found.rows.strategy) == {"good", "mixed", "scratch"}
    good = found.rows.set_index("strategy").loc["good"]
    assert good.gain == pytest.approx(found.pairs.query("strategy == 'good'").gain.mean())
    assert good.score == pytest.approx(found.trials.query("strategy == 'good'").score.mean())
    assert len(found.trials) == 30
    assert len(found.curves) == 30 * 5
    last = found.curves.query("strategy == 'good' and step == 100")
    assert last.score.mean() == pytest.approx(good.score)
    against = found.compare("good", "mixed")
    assert against.iloc[-1].difference == pytest.approx(
        good.gain - found.pairs.query("strategy == 'mixed'").gain.mean()
    )
    assert found.groups == ("fine-tuning 10 · small",)
    assert "nightly" in repr(found)


def test_a_path_a_text_and_several_are_all_taken(run: Path, tmp_path: Path, make: SimpleNamespace) -> None:
    halves = [make.small_board()[0::2], make.small_board()[1::2]]
    folders = [stored(tmp_path / str(i), half) for i, half in enumerate(halves)]
    whole = tlbench.load(str(run), entry_points=False)
    both = tlbench.load(folders, entry_points=False)
    columns = ["strategy", "gain", "gain_low", "gain_high"]
    a, b = (x.rows[columns].sort_values("strategy").reset_index(drop=True) for x in (whole, both))
    assert a.strategy.tolist() == b.strategy.tolist()
    assert np.allclose(a[columns[1:]], b[columns[1:]], equal_nan=True)
    with pytest.raises(TlbenchError, match="at least one run folder"):
        tlbench.load([])
    with pytest.raises(StoreError, match="is no run folder"):
        tlbench.load(tmp_path / "none", entry_points=False)


class Cells(html.parser.HTMLParser):
    """The tags of a page, and its text without style."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_the_table_has_every_row_and_nothing_from_a_name_becomes_a_tag(tmp_path: Path, make: SimpleNamespace) -> None:
    bad = "<script>alert(1)</script>"
    records = [make.reference("<img src=x onerror=alert(2)>", s, 0.5) for s in range(2)]
    records += [
        make.record(make.trial(bad, "\"'><b>", "<img src=x onerror=alert(2)>", s), 0.6 + s / 100) for s in range(2)
    ]
    failed = make.record(
        make.trial("y", "a", "<img src=x onerror=alert(2)>", 0), status=tlbench.Status.FAILED, reason="<b>"
    )
    found = tlbench.load(stored(tmp_path / "run", [*records, failed]), entry_points=False)
    page = Cells()
    page.feed(found._repr_html_())
    assert set(page.tags) <= {"div", "style", "h4", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    text = " ".join(page.said)
    assert bad in text
    assert "scratch" in text


def test_figures_come_by_group_title_or_place(run: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = tlbench.load(run, entry_points=False).plot
    for figure in (plot.gains(), plot.matrix("good"), plot.curves(("a", "c")), plot.ranks("small"), plot.cost(-1)):
        assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(TlbenchError, match="group 3: the board has 1"):
        plot.gains(3)
    with pytest.raises(TlbenchError, match="no task and backbone has 'zzz'"):
        plot.gains("zzz")


def test_without_matplotlib_the_error_names_the_extra(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plot = tlbench.load(run, entry_points=False).plot
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TlbenchError, match=r"tlbench\[plots\]"):
        plot.gains()


def test_loading_a_run_needs_neither_torch_nor_matplotlib(run: Path) -> None:
    code = (
        f"import sys, tlbench; r = tlbench.load({str(run)!r}, entry_points=False); r.rows; r._repr_html_(); "
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
