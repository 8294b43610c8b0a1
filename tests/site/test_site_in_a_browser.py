"""The site in a real Chromium, from files: every view, with the mouse and with the keyboard, and what it never does."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.loading import loaded
from tlbench.plan.build import build as plan
from tlbench.site import build
from tlbench.site.groups import places
from tlbench.suite.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.plugins import Plugins

GROUP = "/g/fine-tuning-labels-5-small-cnn"
TABS = ("board", "heat", "curves", "ranks", "cost", "wins")
PAGES = (
    "/",
    *(f"{GROUP}/{tab}" for tab in TABS),
    "/methods",
    "/method/fine-tune",
    "/conditions",
    "/downloads",
    "/help",
)


def column(page: Any, nth: int) -> list[str]:
    return [
        text.strip() for text in page.locator(f"table.board tbody tr :is(th,td):nth-child({nth})").all_inner_texts()
    ]


@pytest.mark.parametrize("route", PAGES)
def test_every_view_opens_with_one_heading_and_named_tables(site: Path, visit: Any, route: str) -> None:
    page = visit(site).open(route)
    assert page.locator("main h1").count() == 1
    for table in page.locator("main table").all():
        assert (table.locator("caption").text_content() or "").strip()
        assert table.locator("thead th[scope=col]").count() > 0
    for svg in page.locator("main figure svg[role=img]").all():
        assert len(svg.get_attribute("aria-label") or "") > 20
    for box in page.locator("main :is(input, select)").all():
        assert box.evaluate("e => e.ariaLabel || (e.labels.length === 1 && e.labels[0].textContent.trim())")


def test_the_plots_are_drawn(site: Path, visit: Any) -> None:
    one = visit(site)
    for tab in ("curves", "ranks", "cost", "wins"):
        page = one.open(f"{GROUP}/{tab}")
        page.wait_for_selector("figure .plot svg")
        shapes = page.locator("figure .plot svg").first.locator("path, circle, line").count()
        assert shapes > 10, tab


def test_the_board_shows_the_boards_own_numbers_in_its_order(
    site: Path, run: Path, plugins: Plugins, visit: Any
) -> None:
    group = loaded([run], plugins).board.groups[0]
    page = visit(site).open(f"{GROUP}/board")
    heads = [h.strip() for h in page.locator("table.board thead th").all_inner_texts()]
    assert [re.split(r"\s", name)[0] for name in column(page, 1)] == [row.strategy for row in group.rows]
    assert column(page, heads.index("score") + 1) == [row.cells["score"].text for row in group.rows]
    assert column(page, heads.index("transfer gain") + 1) == [row.cells["gain"].text for row in group.rows]


def test_a_heading_sorts_by_number_and_says_so(site: Path, visit: Any) -> None:
    page = visit(site).open(f"{GROUP}/board")
    head = page.locator("table.board thead th", has_text="score")
    for state, reverse in (("descending", True), ("ascending", False)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == state
        scores = [float(text) for text in column(page, 2)]
        assert scores == sorted(scores, reverse=reverse)
        assert page.locator("#live").inner_text() == f"sorted by score, {state}"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "none"


def test_filters_leave_what_fits(site: Path, visit: Any) -> None:
    page = visit(site).open(f"{GROUP}/board")
    everything = len(column(page, 1))
    page.get_by_label("Filter by name").fill("PROBE")
    assert column(page, 1) == [text for text in column(page, 1) if "linear-probe" in text]
    assert len(column(page, 1)) == 1
    page.get_by_label("Filter by name").fill("")
    page.get_by_label("Rows shown").select_option("methods")
    assert len(column(page, 1)) == everything - 1
    page.get_by_label("Rows shown").select_option("here-")
    assert column(page, 1)[0].startswith("linear-probe")


def test_columns_are_chosen(site: Path, visit: Any) -> None:
    page = visit(site).open(f"{GROUP}/board")
    assert "peak memory" not in page.locator("table.board thead").inner_text()
    page.locator("details.chooser summary").click()
    page.get_by_label("peak memory", exact=True).check()
    assert "peak memory" in page.locator("table.board thead").inner_text()
    assert "477 MiB" in page.locator("table.board tbody").inner_text()


def test_a_cell_of_the_heat_map_leads_to_its_trials_by_keyboard_alone(
    site: Path, run: Path, plugins: Plugins, visit: Any
) -> None:
    one = visit(site)
    page = one.open(f"{GROUP}/heat")
    page.get_by_label("Method").select_option(label="fine-tune")
    page.get_by_label("Method").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        label = page.evaluate("document.activeElement.getAttribute('aria-label') || ''")
        if label.startswith("inverted → rotated"):
            break
    board = loaded([run], plugins).board
    matrix = board.matrix(0, "fine-tune")
    at = matrix.sources.index("inverted"), matrix.targets.index("rotated")
    assert f"{100 * matrix.mean[at]:+.1f}" in label
    assert str(matrix.verdict[at]) in label
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('inverted → rotated')")
    trials = page.locator("table", has=page.locator("caption", has_text="Every trial")).locator("tbody tr")
    assert trials.count() == 3 * 3 + 2 * 3  # three methods with a source, two rows without


def test_a_trials_page_has_its_record_and_a_suite_with_the_same_key(
    site: Path, run: Path, plugins: Plugins, visit: Any, tmp_path: Path
) -> None:
    found = loaded([run], plugins)
    group = found.board.groups[0]
    pairs = list(places(group))
    data = json.loads((site / "data" / "g0.js").read_text().split(",", 1)[1][1:-4].replace("\\\\", "\\"))
    one = visit(site)
    seen = set()
    for record in found.records.values():
        strategy = record.trial["strategy"]["name"]
        if record.trial["kind"] != "trial" or strategy in seen or record.status != "ok":
            continue
        seen.add(strategy)
        source = record.trial["source"]
        place = pairs.index((source["label"] if source else "", record.trial["target"]["label"]))
        page = one.open(f"{GROUP}/pair/{data['pairs'][place][2]}/{record.key}")
        href = page.locator("dt:text-is('record') + dd a").get_attribute("href")
        line = int(re.search(r"line (\d+)", page.locator("dt:text-is('record') + dd").inner_text())[1])  # type: ignore[index]
        assert record.key in (site / href).read_text().splitlines()[line - 1]
        suite = tmp_path / f"{record.key}.yaml"
        suite.write_text(page.locator("#again").text_content())
        again = plan(load(suite, plugins), plugins)
        assert record.key in {t.key for t in again.trials}
    assert seen == {"scratch", "majority", "linear-probe", "fine-tune", "l2-sp"}


def test_what_failed_says_why_and_what_never_ran_is_there(site: Path, visit: Any) -> None:
    one = visit(site)
    page = one.open(f"{GROUP}/board")
    assert "incomplete" in page.locator("table.board").inner_text()
    page = one.open("/conditions")
    assert "CUDA <error>" in page.locator("ul.notes").inner_text()
    assert "digits for the site" in page.locator("main").inner_text()


def test_the_page_works_by_keyboard_from_the_skip_link_on(site: Path, visit: Any) -> None:
    page = visit(site).open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page = visit(site).open("/")
    page.get_by_role("link", name="Methods", exact=True).press("Enter")
    page.wait_for_selector("h1:text-is('Methods')")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert page.title() == "Methods · site"


def test_dark_and_light_follow_the_system_and_the_switch(site: Path, visit: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = visit(site, color_scheme="light").open().evaluate(paper)
    page = visit(site, color_scheme="dark").open()
    assert page.evaluate(paper) != light
    page.get_by_role("button", name="Switch to light colours").click()
    assert page.evaluate(paper) == light
    page.reload()
    page.wait_for_selector("main:not([aria-busy]) h1")
    assert page.evaluate(paper) == light


@pytest.mark.parametrize("route", PAGES)
def test_a_phone_scrolls_no_page_sideways(site: Path, visit: Any, route: str) -> None:
    page = visit(site, viewport={"width": 390, "height": 844}).open(route)
    page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_print_leaves_out_what_paper_cannot_do(site: Path, visit: Any) -> None:
    page = visit(site).open(f"{GROUP}/board")
    page.emulate_media(media="print")
    assert not page.locator("#theme").is_visible()
    assert not page.locator(".tools").first.is_visible()
    assert page.locator("table.board").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"


def test_a_reader_without_scripts_finds_the_sentences(site: Path, visit: Any) -> None:
    page = visit(site, java_script_enabled=False)
    page.page.goto(f"{site.as_uri()}/index.html")
    text = page.page.locator("main").inner_text()
    assert "fine-tune" in text
    assert "leaderboard.md" in text


def test_a_route_that_is_nowhere_says_so(site: Path, visit: Any) -> None:
    one = visit(site)
    for route in (
        "/nowhere",
        "/g/none",
        f"{GROUP}/nothing",
        f"{GROUP}/pair/none",
        "/method/none",
        "/__proto__",
        "/%E0%A4%A",
    ):
        assert "no such page" in one.open(route).locator("h1").inner_text()


def test_a_static_host_serves_it_as_it_is(site: Path, browser: Any) -> None:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            here = f"http://127.0.0.1:{server.server_port}/"
            page, said, asked = browser.new_page(), [], []
            page.on("console", lambda m: said.append(m.text))
            page.on("request", lambda r: asked.append(r.url))
            page.goto(f"{here}#{GROUP}/curves")
            page.wait_for_selector("figure .plot svg")
            page.close()
        finally:
            server.shutdown()
            thread.join()
    assert said == []
    assert all(url.startswith(here) for url in asked)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


HOSTILE = (
    "<script>window.pwned=1</script>",
    "</script><img src=x onerror=window.pwned=2>",
    "'\");window.pwned=3;//\\",
    "a\u2028window.pwned=4\u2029",
    "\x1b[31mred\x07\u202egnp.exe\u202c",
    "__proto__",
    "x" * 3000,
    "${window.pwned=5}`{{7*7}}`",
)


def test_names_of_a_hostile_submission_run_nothing_and_break_no_page(
    plugins: Plugins, visit: Any, tmp_path: Path, make_run: Any, make_records: Any
) -> None:
    records = make_records(HOSTILE, HOSTILE[:3], (*HOSTILE[3:6], "plain"), 2)
    bad = {name: {name: [name, {"__proto__": {"polluted": 1}}]} for name in HOSTILE}
    fields = [
        r.__dict__ | {"data": bad, "environment": {**bad, "device": HOSTILE[0]}, "reason": HOSTILE[1]} for r in records
    ]
    records = [type(records[0])(**f) for f in fields]
    run = make_run(tmp_path / "run", records, (), name=HOSTILE[0], description=HOSTILE[1], expect=HOSTILE[2])
    found = loaded([run], plugins)
    folder = build(found, plugins, tmp_path / "site", title=HOSTILE[1]).folder
    one = visit(folder)
    routes = [
        "/",
        *(f"/g/fine-tuning-small-cnn/{tab}" for tab in TABS),
        "/methods",
        "/conditions",
        "/downloads",
        "/help",
    ]
    page = one.open("/methods")
    hrefs = [a.get_attribute("href") for a in page.locator("tbody th a").all()]
    routes += [href[1:] for href in hrefs]
    page = one.open("/g/fine-tuning-small-cnn/heat")
    page.get_by_label("Method").select_option(index=1)
    pair = page.locator("table.heat tbody td a").first.get_attribute("href")[1:]
    page = one.open(pair)
    routes += [pair, page.locator("a.key").first.get_attribute("href")[1:]]
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        for route in routes:
            one.open(route)
            assert page.evaluate("[window.pwned, Object.prototype.polluted]") == [None, None], route
            assert page.locator("main :is(script, img, iframe, object, style):not(.tlb style)").count() == 0, route
            assert page.evaluate("document.documentElement.scrollWidth") <= width, route
            shown = page.locator("body").inner_text()
            assert not set("\x1b\x07\u202e\u2028") & set(shown), route
    loaded_scripts = {s.get_attribute("src") for s in page.locator("script").all()}
    assert all(s and s.startswith(("assets/", "data/")) for s in loaded_scripts)
