"""Names that mean harm, through every reporter and the terminal: what comes out is read by a parser of each medium.

A submission's names are written by strangers. In no form may one of them become a tag, a link, a picture, a command, a
formula, a control code or a line of its own.
"""

from __future__ import annotations

import csv
import io
import json
import re
import runpy
import shutil
import subprocess
import unicodedata
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from html5lib import HTMLParser
from markdown_it import MarkdownIt
from pylatexenc import latexwalker
from rich.console import Console

from tlbench.api.records import Status
from tlbench.leaderboard import Leaderboard, build
from tlbench.leaderboard.forms.badge import badge, to_svg
from tlbench.leaderboard.forms.latex import escape, to_latex
from tlbench.leaderboard.views.terminal import board_renderables
from tlbench.plugins import Plugins
from tlbench.reports import write_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "leaderboard" / "factory.py")))

NAMES = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)><!-- ",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <https://evil.example>",
    "www.evil.example https://evil.example me@evil.example",
    "\\input{/etc/passwd}\\immediate\\write18{id}$x$%#&_^~{}",
    "[1pt]* \\\\\\end{tabular}\\end{table}\\def\\x{y} -- --- ``''?`!`",
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07\x1b[31m\x9b31m\x08\x7f",
    "user\u202egnp.exe\u2066\u200b\ufeff\u2028\u0085e\u0301\u0301\u0301\u0301\u0301\u0301\u0301",
    '=HYPERLINK("https://evil.example")',
    "@SUM(1+1)",
    "-1+cmd|' /C calc'!A0",
    "x;=1+1;\t+1",
    "\uff1d1+1",
    "a\n\n# heading\n\n- item\n\n| x | y |\r\n---\n    code",
    "`code` *em* __strong__ ~~gone~~ | cell || ${jndi:ldap://x} {{x}} %s",
    "1. first",
    "ends with \\",
    "- item",
    "    code",
    "long " + "x" * 5000,
    "äöü ß 数字 😀 αΩ → × ±",
]
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def records(name: str) -> list[Any]:
    """A board on which every text that a record may bring is this one, and next to it some that are harmless."""
    steps = [0, 50, 100]
    axes = {"task": f"{name} t", "backbone": f"{name} b", "recipe": name}
    out = [
        make.reference(name, s, 0.5, curve=(steps, [0.1, 0.3, 0.5]), device=name, metric=name, **axes) for s in (0, 1)
    ]
    for strategy, gain in ((name, 0.2), ("plain", 0.1), (f"{name} 2", -0.2)):
        for source in (name, "plain"):
            out += [
                make.record(make.trial(strategy, source, name, s, **axes), 0.5 + gain, device=name, metric=name,
                            curve=(steps, [0.2, 0.4, 0.5 + gain]))
                for s in (0, 1)
            ]  # fmt: skip
    chosen = axes | {"recipe": f"{name} o", "selection": "oracle"}
    out.append(make.record(make.trial(name, name, name, **chosen), 0.9, device=name, metric=name))
    lost = make.trial(f"{name} 3", name, name, **axes)
    out.append(make.record(lost, status=Status.FAILED, reason=name))
    skipped = make.trial(f"{name} 4", name, name, **axes)
    out.append(make.record(skipped, status=Status.SKIPPED, reason=name))
    environment = {"device": name, "versions": {"torch": name, "tlbench": name}, "git": {"commit": name}, "host": name}
    return [replace(r, suite=name, environment=environment) for r in out]


@pytest.fixture(scope="module", params=range(len(NAMES)), ids=lambda i: ascii(NAMES[i])[1:24])
def board(request: pytest.FixtureRequest) -> Leaderboard:
    name = NAMES[request.param]
    return build(records(name), metric=name)


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


def hidden(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in HIDDEN and c != "\n"]


def test_every_file_of_every_reporter_is_harmless(board: Leaderboard, plugins: Plugins, tmp_path: Path) -> None:
    paths = write_reports(board, tmp_path, plugins, sorted(plugins.offers("reporters")))
    assert {p.name for p in paths} == {p.name for p in tmp_path.iterdir()}
    for path in paths:
        CHECKS[path.suffix](path)  # a form without a check is an error


# ---- each form -----------------------------------------------------------------------------------


def check_markdown(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert hidden(text) == []
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    kinds = {token.type for block in reader.parse(text) for token in [block, *(block.children or ())]}
    plain = ("heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "bullet_list", "list_item", "strong")
    allowed = {f"{name}_{end}" for name in plain for end in ("open", "close")} | {"inline", "text", "text_special"}
    assert kinds <= allowed, kinds - allowed
    tree = HTMLParser(namespaceHTMLElements=False).parse(reader.render(text))
    tags = {element.tag for element in tree.iter()}
    whole = {"html", "head", "body", "h1", "h2", "h3", "p", "ul", "li", "strong"}
    assert tags <= whole | {"table", "thead", "tbody", "tr", "th", "td"}
    assert {name for element in tree.iter() for name in element.attrib} <= {"style"}  # of a column to the right
    for table in tree.iter("table"):
        assert len({len(row) for row in table.iter("tr")}) == 1
    assert max(map(len, text.splitlines())) < 40_000


def check_csv(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert hidden(text) == []
    lines = list(csv.reader(io.StringIO(text)))
    assert len({len(line) for line in lines}) == 1
    for delimiter in ",;\t":
        for line in csv.reader(io.StringIO(text), delimiter=delimiter):
            for cell in line:
                start = cell.strip(" \"'")[:1] if not cell.startswith("'") else ""
                assert start not in set("=+-@|%＝＋－＠") or is_number(cell.strip('"')) or "," in cell, cell


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def check_json(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    assert hidden(text) == []
    json.loads(text)


MACROS = frozenset(
    ("caption", "label", "emph", "textbf", "boldmath", "textsuperscript", "toprule", "midrule", "bottomrule",
     "cmidrule", "multicolumn", "cdot", "centering", "footnotesize", "setlength", "tabcolsep", "belowcaptionskip",
     "hspace", "texttt", "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar",
     "ldots", "dagger", "times", "to", "pm", "ss", "alpha", "Omega")
)  # fmt: skip
SIGNS = set("\\,%{}$&#_`'^~=.\"")
ACCENTS = set("uHvcr")


def check_latex(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    assert hidden(text) == []
    nodes, _, _ = latexwalker.LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    used = list(walked(nodes))
    macros = {node.macroname for node in used if isinstance(node, latexwalker.LatexMacroNode)}
    assert macros <= MACROS | SIGNS | ACCENTS, macros - MACROS - SIGNS - ACCENTS
    environments = [n.environmentname for n in used if isinstance(n, latexwalker.LatexEnvironmentNode)]
    assert set(environments) <= {"table", "tabular"}
    comments = [n for n in used if isinstance(n, latexwalker.LatexCommentNode)]
    assert len(comments) == 1  # ours, on the first line
    for line in text.splitlines():
        if re.match(r"\\begin\{tabular\}", line):
            columns = re.sub(r"@\{(?:[^{}]|\{[^{}]*\})*\}", "", line.removeprefix(r"\begin{tabular}"))
            width = len(columns.strip("{}"))
        elif line.endswith(r" \\"):
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d)\}", line)]
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) == width, line


def walked(nodes: Any) -> Iterator[Any]:
    for node in nodes or ():
        if node is None:
            continue
        yield node
        yield from walked(getattr(node, "nodelist", None))
        arguments = getattr(node, "nodeargd", None)
        if arguments is not None:
            yield from walked(arguments.argnlist)


def check_svg(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert hidden(text) == []
    tree = ET.fromstring(text)
    drawn = {"svg", "title", "clipPath", "rect", "g", "text"}
    assert {e.tag.split("}")[1] for e in tree.iter()} == drawn
    known = {"width", "height", "role", "aria-label", "id", "rx", "x", "y", "fill", "clip-path", "text-anchor",
             "textLength", "lengthAdjust", "font-family", "font-size"}  # fmt: skip
    assert {name for e in tree.iter() for name in e.attrib} <= known
    page = HTMLParser(namespaceHTMLElements=False).parse(text)  # as where it is pasted into a page
    assert {str(e.tag).split("}")[-1] for e in page.iter()} == drawn | {"html", "head", "body"}
    assert len(text) < 3000


def check_dot(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert hidden(text) == []
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", text)
    assert re.fullmatch(
        r"(digraph Q \{\n  label=Q;\n  node \[shape=box, style=rounded\];\n"
        r"(  Q \[pos=Q\];\n)*(  Q -> Q \[label=Q, color=Q, fontcolor=Q\];\n)*\}\n)*",
        outside,
    )


def check_parquet(path: Path) -> None:
    table = pq.read_table(path)
    assert {str(field.type) for field in table.schema} <= {"string", "double", "int64", "bool"}


CHECKS = {".md": check_markdown, ".csv": check_csv, ".json": check_json, ".tex": check_latex, ".svg": check_svg,
          ".dot": check_dot, ".parquet": check_parquet}  # fmt: skip


@pytest.mark.parametrize("width", [60, 120, 400])
def test_nothing_but_colours_reaches_a_terminal(board: Leaderboard, width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system="truecolor", highlight=False)
    for part in board_renderables(board, width):
        console.print(part)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert hidden(shown) == []
    assert "\x1b" not in shown


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdfTeX")
def test_the_tables_compile(tmp_path: Path) -> None:
    accents = "".join(chr(n) for n in range(0xA0, 0x500)) + "".join(chr(n) for n in range(0x20, 0x7F)) * 2
    tables = "".join(to_latex(build(records(name), metric=name)) for name in [*NAMES, accents[:100]])
    text = "\n\n".join(escape(accents[i : i + 40]) for i in range(0, len(accents), 40))
    (tmp_path / "x.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\extrafloats{100}\\begin{document}\n"
        + text + tables.replace("\\end{table}", "\\end{table}\\clearpage") + "\\end{document}\n"
    )  # fmt: skip
    words = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "x.log").read_text(errors="replace")
    assert "Missing character" not in log
    assert "root:" not in log


def test_the_badge_stays_small_whatever_the_name() -> None:
    shown = badge(build(records("x" * 5000), metric="accuracy"))
    assert len(shown.label) < 60
    assert 'width="' in to_svg(shown)
