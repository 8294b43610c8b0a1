"""The site's folder: its data, its records, its sentences and its edges, without a browser."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tlbench.site
from tlbench.api.records import Status
from tlbench.cli import main
from tlbench.errors import StoreError
from tlbench.leaderboard.inference.analysis import analyse
from tlbench.loading import loaded
from tlbench.results.verify import standing
from tlbench.site import build
from tlbench.site.encode import MOST, Slugs, bounded, prose, script
from tlbench.site.methods import papers
from tlbench.site.words import plain, summary

if TYPE_CHECKING:
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.plugins import Plugins

ASSETS = Path(tlbench.site.__file__).parent / "assets"


def read_chunk(path: Path) -> Any:
    """The value of a chunk as a JavaScript engine would read it: the string's escapes, then JSON."""
    body = re.fullmatch(r"tlbenchData\.put\('[a-z0-9-]+','(.*)'\);\n", path.read_text(), re.DOTALL)
    assert body is not None
    return json.loads(body[1].replace("\\\\", "\\"))


# ---- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["</script>", "<!--", "'", '"', "\\", "\\'", "\u2028", "a\nb", "\x00", "&amp;", "é", "😀", "__proto__"]
)
def test_a_chunk_gives_back_what_was_put_in_and_has_nothing_a_parser_could_take_for_markup(
    name: str, tmp_path: Path
) -> None:
    text = script("x", {name: [name]})
    (tmp_path / "x.js").write_text(text)
    assert read_chunk(tmp_path / "x.js") == {name: [name]}
    inside = text.removeprefix("tlbenchData.put('x','").removesuffix("');\n")
    assert not set("<>&'\n\u2028") & set(inside)
    assert text.isascii()


def test_a_chunk_is_read_by_a_javascript_engine_as_it_was_written(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH")
    value = {"a": ["</script>", "'\"\\\u2028\x00é😀", None, 1.5], "__proto__": {"b": 1}}
    (tmp_path / "x.js").write_text(
        "const tlbenchData = {put(n, t) { process.stdout.write(JSON.stringify(JSON.parse(t))); }};\n"
        + script("x", value)
    )
    assert json.loads(subprocess.run([node, tmp_path / "x.js"], capture_output=True, check=True).stdout) == value


def test_numbers_that_json_does_not_have_are_null() -> None:
    assert "[null,null,1.0]" in script("x", [float("nan"), float("-inf"), 1.0])


def test_what_a_record_says_is_bounded_in_depth_length_and_text() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = {"a": deep}
    assert len(json.dumps(bounded(deep))) < 200
    assert len(bounded(list(range(10 * MOST)))) == MOST + 1
    assert len(bounded("x" * 10**6)) < 5000
    assert bounded(2**64) == str(2**64)
    assert prose("a\x1b[1mb\nc") == "a\\x1b[1mb\nc"


def test_slugs_are_addresses_and_differ() -> None:
    slugs = Slugs()
    made = [slugs.of(text) for text in ("A/B", "a b", "../../etc", "<script>", "", "日本", "x" * 500)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[a-z0-9-]{1,52}", slug) for slug in made)


def test_each_number_is_the_boards(site: Path, run: Path, plugins: Plugins) -> None:
    board = loaded([run], plugins).board
    data, index = read_chunk(site / "data" / "g0.js"), read_chunk(site / "data" / "index.js")
    frame = board.pairs_frame().set_index(["strategy", "source", "target"])
    keys = [c["key"] for c in index["columns"]]
    lines = 0
    for row, its in zip(board.groups[0].rows, data["rows"], strict=True):
        assert its["cells"][keys.index("gain")][1] == row.cells["gain"].text
        for q, gain, low, high in zip(its["at"], *(its.get(k, ()) for k in ("gain", "low", "high")), strict=False):
            s, t, _ = data["pairs"][q]
            wanted = frame.loc[row.strategy, data["sources"][s] if s >= 0 else "", data["targets"][t]]
            assert [gain, low, high] == pytest.approx(
                [100 * wanted[k] for k in ("gain", "gain_low", "gain_high")], rel=1e-5
            )
            lines += 1
    assert lines == len(frame)


# ---- records -------------------------------------------------------------------------------------


def test_the_records_in_the_folder_make_the_same_board(site: Path, run: Path, plugins: Plugins) -> None:
    shipped = loaded([site / "runs" / "my-run"], plugins)
    assert shipped.board.to_frame().equals(loaded([run], plugins).board.to_frame())
    assert shipped.notes == ()


def test_only_the_lines_of_the_board_are_copied_and_no_link_is_followed(
    run: Path, plugins: Plugins, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    secret = tmp_path / "secret"
    secret.write_text("the password\n")
    (copy / "records" / "x.jsonl").symlink_to(secret)
    (copy / "records" / "y.jsonl").write_text("no record\n")
    (copy / "records" / "notes.txt").write_text("private\n")
    (copy / "run.json").unlink()
    (copy / "run.json").symlink_to(secret)
    site = build(loaded([copy], plugins), plugins, tmp_path / "site")
    every = b"".join(p.read_bytes() for p in site.folder.rglob("*") if p.is_file())
    assert b"the password" not in every
    assert b"private" not in b"".join(p.read_bytes() for p in (site.folder / "runs").rglob("*") if p.is_file())
    assert any("x.jsonl" in note for note in site.notes)


def test_the_standing_of_each_run_is_said(run: Path, plugins: Plugins, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    site = build(loaded([copy], plugins), plugins, tmp_path / "site").folder
    assert read_chunk(site / "data" / "index.js")["runs"][0]["status"] == "self-reported"
    assert main(["verify", str(copy), "--no-plugins"]) in {0, 2}
    stands = standing(copy)
    site = build(loaded([copy], plugins), plugins, site).folder
    said = read_chunk(site / "data" / "index.js")["runs"][0]
    assert (said["status"], said["standing"]) == (stands.status, stands.text)
    assert stands.date in said["standing"]


# ---- the folder ----------------------------------------------------------------------------------


def test_the_same_run_gives_the_same_folder_byte_for_byte(run: Path, plugins: Plugins, tmp_path: Path) -> None:
    found = loaded([run], plugins)
    first, second = (build(found, plugins, tmp_path / name).folder for name in "ab")
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    differ = [n for n in names if (first / n).read_bytes() != (second / n).read_bytes() and n.suffix != ".parquet"]
    assert differ == []


def test_a_site_is_replaced_whole_and_anything_else_is_left_alone(run: Path, plugins: Plugins, tmp_path: Path) -> None:
    found = loaded([run], plugins)
    site = build(found, plugins, tmp_path / "site").folder
    (site / "data" / "stale.js").write_text("old")
    build(found, plugins, site)
    assert not (site / "data" / "stale.js").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["site"]
    other = tmp_path / "home"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="no site of tlbench"):
        build(found, plugins, other)
    assert (other / "letter.txt").read_text() == "dear"


def test_the_command_writes_a_site_and_says_where(run: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["site", str(run), "--out", str(tmp_path / "s"), "--title", "mine", "--no-plugins"]) == 0
    assert str(tmp_path / "s" / "index.html") in capsys.readouterr().out
    assert "<title>mine</title>" in (tmp_path / "s" / "index.html").read_text()
    assert main(["site", str(tmp_path / "nothing"), "--out", str(tmp_path / "t"), "--no-plugins"]) == 1
    assert "no run folder" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_the_libraries_are_those_that_are_written_down() -> None:
    said = (ASSETS / "vendor" / "README.md").read_text()
    files = sorted((ASSETS / "vendor").glob("*.js"))
    assert len(files) == 3
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() in said
        assert (ASSETS / "vendor" / f"{file.name.split('.')[0]}.LICENSE").is_file()


def test_the_page_names_no_other_place() -> None:
    own = [p for p in ASSETS.rglob("*") if p.is_file() and "vendor" not in p.parts]
    for path in own:
        found = set(re.findall(r"https?://[^\"'`\s)]+", path.read_text()))
        assert found <= {"http://www.w3.org/2000/svg"}, path
    for path in own:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text()
        )
    page = (ASSETS / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|style=", page)
    assert "default-src 'none'" in page


def test_the_wheel_has_the_page(tmp_path: Path) -> None:
    root = Path(tlbench.site.__file__).parents[2]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("tlbench is not installed from its source")
    pytest.importorskip("hatchling")
    code = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, capture_output=True, text=True, check=True)
    names = set(zipfile.ZipFile(tmp_path / done.stdout.split()[-1]).namelist())
    wanted = {f"tlbench/site/assets/{p.relative_to(ASSETS).as_posix()}" for p in ASSETS.rglob("*") if p.is_file()}
    assert wanted <= names
    assert len(wanted) > 15


# ---- colours -------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    full = colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:])
    parts = [int(full[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("start", [":root {", ':root[data-theme="dark"] {'])
def test_all_text_has_the_contrast_that_the_guidelines_ask_for(start: str) -> None:
    block = (ASSETS / "style.css").read_text().split(start, 1)[1].split("}", 1)[0]
    colour = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", block))
    inks = [(ink, back) for ink in ("ink", "muted", "link", "good", "bad") for back in ("paper", "surface")]
    inks += [("ink", q) for q in ("q1", "q2", "q3", "qm1", "qm2", "qm3")] + [("q4ink", "q4"), ("qm4ink", "qm4")]
    inks += [("warn", "warnback"), ("good", "okback")]
    poor = {pair: round(contrast(colour[pair[0]], colour[pair[1]]), 2) for pair in inks}
    assert {k: v for k, v in poor.items() if v < 4.5} == {}
    lines = {f"s{i}": round(contrast(colour[f"s{i}"], colour["paper"]), 2) for i in range(8)}
    assert {k: v for k, v in lines.items() if v < 3} == {}


def test_dark_by_the_system_and_by_the_switch_are_the_same_colours() -> None:
    sheet = (ASSETS / "style.css").read_text()
    blocks = [
        sheet.split(start, 1)[1].split("}", 1)[0]
        for start in (':root:not([data-theme="light"]) {', ':root[data-theme="dark"] {')
    ]
    assert re.findall(r"--(\w+): ([^;]+);", blocks[0]) == re.findall(r"--(\w+): ([^;]+);", blocks[1])


# ---- words ---------------------------------------------------------------------------------------


def said_of(board: Leaderboard) -> tuple[dict[str, Any], str]:
    group = board.groups[0]
    found = summary(board, group, analyse(board, group))
    return found, " ".join(plain(group, sentence) for _, sentence in found["said"])


def test_the_sentences_name_what_won_what_hurt_and_how_sure(run: Path, plugins: Plugins) -> None:
    board = loaded([run], plugins).board
    found, said = said_of(board)
    group = board.groups[0]
    assert found["state"] in {"clear", "here"}
    assert group.rows[found["best"]].strategy == "fine-tune"
    assert "fine-tune gained most over scratch" in said
    assert re.search(r"Negative transfer: .*linear-probe\S* hurts in \d of \d", said)
    assert re.search(r"3 sources and 2 targets", said)


def test_where_the_best_on_average_hurts_somewhere_the_safest_is_named_too(
    plugins: Plugins, tmp_path: Path, make_run: Any, make_records: Any
) -> None:
    def score(r: Any) -> float:
        noise = 0.001 * (int(r.key[:2], 16) % 7)
        if r.trial["strategy"]["label"] == "steady":
            return 0.7 + noise
        return (0.55 if r.trial["source"]["label"] == "s3" else 0.8) + noise

    records = [
        replace(r, metrics={"target": {"accuracy": score(r)}}) if r.trial["source"] else r
        for r in make_records(["daring", "steady"], [f"s{i}" for i in range(8)], ["t1", "t2", "t3"], 3)
    ]
    found, said = said_of(loaded([make_run(tmp_path / "r", records, ())], plugins).board)
    assert found["state"] == "clear"
    assert "daring gained most" in said
    assert "Safest of these: steady" in said
    assert "daring hurts in 3 of 24 pairs" in said


def test_one_seed_wins_nothing(plugins: Plugins, tmp_path: Path, make_run: Any, make_records: Any) -> None:
    board = loaded([make_run(tmp_path / "r", make_records(["a", "b"], ["s"], ["t"], 1), ())], plugins).board
    found, said = said_of(board)
    assert found["state"] == "unknown"
    assert "unknown" in said
    assert "better" not in said


def test_an_oracle_wins_nothing(plugins: Plugins, tmp_path: Path, make_run: Any, make_records: Any) -> None:
    records = make_records(["peeks"], ["s1", "s2"], ["t1", "t2"], 3)
    for i, record in enumerate(records):
        recipe = record.trial["recipe"]
        oracle = {**recipe, "params": {**recipe["params"], "selection": "oracle"}}
        records[i] = replace(record, trial={**record.trial, "recipe": oracle})
    found, said = said_of(loaded([make_run(tmp_path / "r", records, ())], plugins).board)
    assert found["best"] is None
    assert "peeks" not in said


def test_a_board_on_which_everything_hurts_says_that_nothing_pays(
    plugins: Plugins, tmp_path: Path, make_run: Any, make_records: Any
) -> None:
    records = [
        replace(r, metrics={"target": {"accuracy": 0.3 + 0.001 * (int(r.key[:2], 16) % 7)}}) if r.trial["source"] else r
        for r in make_records(["a", "b"], ["s1", "s2", "s3"], ["t1", "t2", "t3"], 3)
        if r.status is Status.OK
    ]
    found, said = said_of(loaded([make_run(tmp_path / "r", records, ())], plugins).board)
    assert found["state"] == "worse"
    assert "No method pays here" in said


def test_papers_are_read_from_docstrings() -> None:
    doc = "Penalty (Li, Grandvalet & Davoine 2018, eq. 4) after Ganin et al. 2016 and Howard & Ruder (2018)."
    assert papers(doc) == ["Li, Grandvalet & Davoine 2018", "Ganin et al. 2016", "Howard & Ruder (2018)"]
