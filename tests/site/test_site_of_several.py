"""Several runs under one front page: what it says, where it leads, and that it stays with what it was made of."""

from __future__ import annotations

import json
import re
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.cli import main
from tlbench.loading import loaded
from tlbench.site import build, build_each

if TYPE_CHECKING:
    from tlbench.plugins import Plugins

PUBLISHED = Path(__file__).parents[2] / "results"


def read(path: Path) -> Any:
    """The value of a chunk."""
    body = re.fullmatch(r"tlbenchData\.put\('[a-z0-9-]+','(.*)'\);\n", path.read_text(), re.DOTALL)
    assert body is not None
    return json.loads(body[1].replace("\\\\", "\\"))


@pytest.fixture(scope="module")
def other(run: Path, tmp_path_factory: pytest.TempPathFactory, make_run: Any, make_records: Any) -> Path:
    """A second run, of other methods, whose suite has a hostile name."""
    hostile = "<img src=x onerror=alert(1)>"
    made = make_records(["fine-tune", "<b>bold</b>"], ["s0", "s1"], ["t0", "t1"], 3)
    records = [replace(record, suite=hostile) for record in made]
    about = {"name": hostile, "description": "Made <up>.", "metrics": ["accuracy"]}
    path: Path = make_run(tmp_path_factory.mktemp("other") / "runs" / "other run", records, (), **about)
    return path


@pytest.fixture(scope="module")
def several(run: Path, other: Path, plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("several") / "out"
    return build_each([loaded([path], plugins) for path in (run, other)], plugins, out, title="Two & more").folder


def test_the_front_page_says_of_each_board_what_the_boards_own_page_says(several: Path) -> None:
    front = read(several / "data" / "index.js")
    assert [board["id"] for board in front["boards"]] == ["my-run", "other-run"]
    for board in front["boards"]:
        own = read(several / "boards" / board["id"] / "data" / "index.js")
        assert board["metric"] == own["metric"]
        assert board["trials"] == own["runs"][0]["records"] > 0
        assert board["title"] == own["title"]
        for short, group in zip(board["groups"], own["groups"], strict=True):
            assert short["id"] == group["id"]
            assert short["summary"]["gain"] == group["summary"]["gain"]
            assert short["summary"]["said"] == [[kind] for kind, _ in group["summary"]["said"]]


def test_a_board_among_several_has_the_data_of_a_board_alone(run: Path, several: Path, plugins: Plugins) -> None:
    alone = build(loaded([run], plugins), plugins, several.parent / "alone").folder
    for chunk in (alone / "data").iterdir():
        assert (several / "boards" / "my-run" / "data" / chunk.name).read_bytes() == chunk.read_bytes(), chunk.name
    assert not (several / "boards" / "my-run" / "assets").exists(), "the assets are there once"


def test_records_that_are_led_to_are_the_runs_own_lines(run: Path, other: Path, plugins: Plugins) -> None:
    out = run.parent / "a site"
    out = build_each([loaded([path], plugins) for path in (run, other)], plugins, out, linked=True).folder
    board = out / "boards" / "my-run"
    assert not (board / "runs").exists()
    assert not (out / "assets").exists()
    for page in (out / "index.html", board / "index.html"):
        led = re.findall(r'(?:src|href)="([^"#]+)"', page.read_text())
        missing = [to for to in led if not (page.parent / to).exists() and not to.startswith(("boards/", "downloads/"))]
        assert len(led) > 6, page
        assert missing == [], page
    about = read(board / "data" / "index.js")["runs"][0]
    folder = board / urllib.parse.unquote(about["folder"])
    assert folder.resolve() == run.resolve()
    lines = (folder / "records" / about["files"][0]).read_text().splitlines()
    chunk = read(next((board / "data").glob("g0p*.js")))
    placed = [(trial["key"], trial["where"]) for trial in chunk["trials"] if trial["where"]]
    assert len(placed) > 3
    assert all(json.loads(lines[where[2] - 1])["record"]["key"] == key for key, where in placed)


def test_the_command_writes_both_and_refuses_half_of_it(run: Path, other: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["site", str(run), str(other), "--each", "--out", str(tmp_path / "s"), "--no-plugins"]) == 0
    assert str(tmp_path / "s" / "index.html") in capsys.readouterr().out
    assert main(["site", str(run), "--linked", "--out", str(tmp_path / "t"), "--no-plugins"]) == 1
    assert "--linked goes with --each" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_the_front_page_filters_and_leads_to_boards_that_draw(several: Path, visit: Any) -> None:
    one = visit(several)
    page = one.open()
    assert page.locator("main h1").inner_text() == "Two & more"
    assert page.locator("section.card:visible").count() == 2
    page.fill("#words", "rotated")
    assert page.locator("section.card:visible").count() == 1
    assert "1 case of 2" in page.locator("#live").inner_text()
    page.fill("#words", "")
    page.locator("section.card >> nth=0").locator("tbody th a").click()
    page.wait_for_selector("main:not([aria-busy]) table.board")
    page.locator(".tabs a", has_text="Learning curves").click()
    page.wait_for_selector("figure svg[role=img]")  # the charts' libraries are found from here too


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_the_front_page_runs_nothing_of_a_hostile_name_and_fits(
    several: Path, visit: Any, width: int, scheme: str
) -> None:
    page = visit(several, viewport={"width": width, "height": 800}, color_scheme=scheme).open()
    assert "<img src=x onerror=alert(1)>" in page.locator("main").inner_text()
    assert page.locator("main :is(script, img, iframe)").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for table in page.locator("main table").all():
        assert (table.locator("caption").text_content() or "").strip()


def test_a_reader_without_scripts_is_led_to_each_board(several: Path, visit: Any) -> None:
    one = visit(several, java_script_enabled=False)
    one.page.goto(f"{several.as_uri()}/index.html")
    assert one.page.locator("noscript li a").count() == 2


def test_the_published_site_is_that_of_the_published_records(plugins: Plugins, tmp_path: Path) -> None:
    front = read(PUBLISHED / "site" / "data" / "index.js")
    runs = sorted(path.parent.name for path in PUBLISHED.glob("*/run.json"))
    assert sorted(board["id"] for board in front["boards"]) == runs
    for run in runs:
        about = read(PUBLISHED / "site" / "boards" / run / "data" / "index.js")["runs"][0]
        assert about["files"] == sorted(p.name for p in (PUBLISHED / run / "records").iterdir()), run
    found = loaded([PUBLISHED / "quick"], plugins)
    fresh = build_each([found], plugins, tmp_path / "site", linked=True).folder
    for chunk in (fresh / "boards" / "quick" / "data").glob("g*.js"):
        committed = PUBLISHED / "site" / "boards" / "quick" / "data" / chunk.name
        assert committed.read_bytes() == chunk.read_bytes(), "make the site again: results/README.md has the command"
