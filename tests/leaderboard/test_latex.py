"""Tables for a paper: what is in bold, what the caption says, and names that stay themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker
from scipy import stats

from tlbench.leaderboard import Leaderboard, build
from tlbench.leaderboard.forms.latex import MOST_ROWS, escape, to_latex
from tlbench.leaderboard.inference.leading import lead, paired_difference

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

ENGINE = shutil.which("pdflatex") or shutil.which("tectonic")


def board_of(make: SimpleNamespace, gains: dict[str, Any], pairs: int = 4, seeds: int = 3, **more: Any) -> Leaderboard:
    """Strategies with these gains [source, target, seed] over a reference with scores of its own."""
    rng = np.random.default_rng(0)
    base = 0.5 + 0.05 * rng.standard_normal((pairs, seeds))
    sources, targets = [f"s{i}" for i in range(pairs)], [f"t{i}" for i in range(pairs)]
    rules = {name.partition("/")[2] or "last" for name in gains} | {"last"}
    records = [
        make.reference(t, r, base[j, r], selection=rule)
        for j, t in enumerate(targets) for r in range(seeds) for rule in sorted(rules)
    ]  # fmt: skip
    for name, gain in gains.items():
        label, _, selection = name.partition("/")
        axes = {"selection": selection} if selection else {}
        records += [
            make.record(make.trial(label, s, t, r, **axes), base[j, r] + gain[i, j, r], examples=10**6)
            for i, s in enumerate(sources)
            for j, t in enumerate(targets)
            for r in range(seeds)
        ]
    return build(records, **more)


def rows(latex: str) -> dict[str, list[str]]:
    """The cells of every line of the table by its name."""
    lines = [line.removesuffix(r" \\").split(" & ") for line in latex.splitlines() if line.endswith(r" \\")]
    return {cells[0]: cells[1:] for cells in lines}


def noise(seed: int, scale: float, pairs: int = 4, seeds: int = 3) -> Any:
    return scale * np.random.default_rng(seed).standard_normal((pairs, pairs, seeds))


def test_the_best_is_in_bold_where_it_is_really_better_than_the_next(make: SimpleNamespace) -> None:
    clear = to_latex(
        board_of(make, {"best": 0.10 + noise(1, 1e-4), "next": 0.08 + noise(2, 1e-4), "poor": noise(3, 0.1)})
    )
    assert re.findall(r"\\textbf\{[^}]*\}", clear) == [r"\textbf{\boldmath$+10.0$}"]
    assert r"\textbf{\boldmath$+10.0$}" in rows(clear)["best"]
    assert re.search(
        r"Bold: the largest gain, as the paired difference of \\emph\{best\} and \\emph\{next\}, \$\+2\.0\$", clear
    )


def test_nothing_is_in_bold_where_the_two_best_cannot_be_told_apart(make: SimpleNamespace) -> None:
    unclear = to_latex(
        board_of(make, {"one": 0.10 + noise(1, 0.05), "two": 0.10 + noise(2, 0.05), "poor": noise(3, 1e-4)})
    )
    assert r"\textbf" not in unclear
    assert "Nothing is in bold: the paired difference of" in unclear
    assert "includes 0" in unclear


def test_one_seed_gives_no_interval_and_no_bold(make: SimpleNamespace) -> None:
    board = board_of(make, {"one": np.full((4, 4, 1), 0.2), "two": np.full((4, 4, 1), 0.1)}, seeds=1)
    latex = to_latex(board)
    assert r"\textbf" not in latex
    assert "without repeated seeds" in latex
    assert "One seed: no intervals" in latex
    assert rows(latex)["one"][1] == "$+20.0$"
    assert len({len(cells) for cells in rows(latex).values()}) == 1


def test_a_row_chosen_by_test_labels_has_a_dagger_and_is_never_the_best(make: SimpleNamespace) -> None:
    board = board_of(
        make, {"cheat/oracle": 0.3 + noise(1, 1e-4), "best": 0.2 + noise(2, 1e-4), "next": 0.1 + noise(3, 1e-4)}
    )
    latex = to_latex(board)
    (marked,) = [name for name in rows(latex) if "dagger" in name and "scratch" not in name]
    assert marked.startswith("cheat")
    assert r"\textbf" not in " ".join(rows(latex)[marked])
    assert r"Chosen by test labels (oracle)" in latex
    assert "dagger" not in to_latex(board_of(make, {"best": 0.2 + noise(2, 1e-4), "next": 0.1 + noise(3, 1e-4)}))


def test_references_stand_below_a_rule_of_their_own(make: SimpleNamespace) -> None:
    lines = to_latex(board_of(make, {"good": 0.1 + noise(1, 0.01), "bad": -0.1 + noise(2, 0.01)})).splitlines()
    rules = [i for i, line in enumerate(lines) if line == r"\midrule"]
    places = {
        name: next(i for i, line in enumerate(lines) if line.startswith(f"{name} &"))
        for name in ("good", "bad", "scratch")
    }
    assert rules[0] < places["good"] < places["bad"] < rules[1] < places["scratch"]


def test_the_caption_says_metric_pairs_seeds_reference_and_level(make: SimpleNamespace) -> None:
    caption = re.findall(r"\\caption\{(.*)\}$", to_latex(board_of(make, {"good": 0.1 + noise(1, 0.01)})), re.M)
    said = LatexNodes2Text().latex_to_text(caption[0])
    for words in (
        "over scratch",
        "fine-tuning 10",
        "small",
        "points of accuracy",
        "16 of 16 pairs",
        "3 seeds",
        "95",
        "Wilson",
    ):
        assert words in said, words


def test_numbers_are_those_of_the_board(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    cells = rows(to_latex(board))
    for row in board.groups[0].rows:
        score = row.cells["score"].value
        assert cells[row.label][0] == f"${100 * float(score):.1f}$"
        gain = row.cells["gain"]
        if gain.low is not None and gain.high is not None and isinstance(gain.value, float):
            assert cells[row.label][2] == f"$[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]$"
            assert f"{100 * gain.value:+.1f}" in cells[row.label][1]
    assert cells["mixed"][3:6] == ["1", "2", "1"]


def test_a_loss_is_told_to_be_one(make: SimpleNamespace) -> None:
    records = [make.reference("t", r, 3.0 + r, metric="log-loss") for r in (0, 1)]
    records += [make.record(make.trial("x", "s", "t", r), 2.5 + r, metric="log-loss") for r in (0, 1)]
    latex = to_latex(build(records, metric="log-loss", higher_is_better=False))
    assert "a lower score is better, and a positive gain an improvement" in latex
    assert rows(latex)["x"][:2] == ["$3.000$", "$+0.500$"]


def test_the_difference_of_one_pair_is_that_of_a_paired_t_test(make: SimpleNamespace) -> None:
    a, b = (0.1 + noise(seed, 0.05, 1, 6) for seed in (1, 2))
    board = board_of(make, {"a": a, "b": b}, pairs=1, seeds=6)
    (group,) = board.groups
    labels = [row.label for row in group.rows]
    found = paired_difference(board, group, labels.index("a"), labels.index("b"))
    expected = stats.ttest_rel(a.ravel(), b.ravel()).confidence_interval(0.95)
    assert found == pytest.approx(((a - b).mean(), expected.low, expected.high))


def test_without_common_cells_or_a_second_row_there_is_no_lead(make: SimpleNamespace) -> None:
    alone = board_of(make, {"a": 0.1 + noise(1, 0.01)})
    assert lead(alone, alone.groups[0]) is None
    both = board_of(make, {"a": 0.1 + noise(1, 0.01), "b": 0.05 + noise(2, 0.01)})
    found = lead(both, both.groups[0])
    assert found is not None
    assert (found.best.label, found.next.label) == ("a", "b")


@pytest.mark.parametrize(
    "name", ["fine-tune", "l2-sp(alpha=0.1)", "a_b 100% {x} $5 & #1 ~ ^ \\", "Zürich → Łódź × é", "a--b---c"]
)
def test_a_name_reads_as_it_is_written(name: str) -> None:
    assert escape(name).isascii()
    shown = LatexNodes2Text().latex_to_text(escape(name)).replace("ˆ", "^")
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", name)


def test_an_empty_board_gives_an_empty_file_that_compiles() -> None:
    assert [line for line in to_latex(build([])).splitlines() if line and not line.startswith("%")] == []


# ---- pages -----------------------------------------------------------------------------------------


def many(make: SimpleNamespace, count: int) -> Leaderboard:
    """A board of so many rows, one of them the reference."""
    return board_of(make, {f"method-{i:03d}": 0.001 * i + noise(i, 0.02, 2, 2) for i in range(count - 1)}, 2, 2)


def lines_of(latex: str) -> list[str]:
    return [line for line in latex.splitlines() if re.match(r"(method-\d|scratch)", line)]


def test_a_table_of_more_rows_than_a_page_holds_is_broken_across_pages(make: SimpleNamespace) -> None:
    short, long = (to_latex(many(make, count)) for count in (MOST_ROWS, MOST_ROWS + 1))
    assert r"\begin{table}" in short
    assert "longtable" not in short
    assert r"\begin{table}" not in long
    assert long.startswith(r"% Written by tlbench. In the preamble: \usepackage{booktabs,longtable}")
    assert long.count(r"\begin{longtable}") == long.count(r"\end{longtable}") == long.count(r"\endfirsthead") == 1
    assert long.count(r"\toprule") == long.count(r"\endhead") + 1 == 2, "the head is on each page"
    assert long.count(r"\label{tab:transfer-1}") == 1
    for latex, count in ((short, MOST_ROWS), (long, MOST_ROWS + 1)):
        assert len(lines_of(latex)) == count
        assert len(set(lines_of(latex))) == count


def test_each_line_has_as_many_cells_as_the_table_has_columns(make: SimpleNamespace) -> None:
    """As the parser of a library reads them, for a floating table and a long one."""
    for count, name in ((5, "tabular"), (60, "longtable")):
        latex = to_latex(many(make, count))
        nodes, *_ = LatexWalker(latex[latex.index(rf"\begin{{{name}}}") :]).get_latex_nodes()
        (table,) = [n for n in nodes if n.isNodeType(LatexEnvironmentNode) and n.environmentname == name]
        assert table.latex_verbatim().endswith(rf"\end{{{name}}}")
        align = re.sub(r"@\{(?:[^{}]|\{[^{}]*\})*\}", "", re.findall(r"\\begin\{\w+\}\{(.*)\}", latex)[-1])
        assert re.fullmatch("[lrc]+", align)
        for line in lines_of(latex):
            assert line.count(" & ") + 1 + line.count("multicolumn{2}") == len(align)


@pytest.mark.skipif(ENGINE is None, reason="no pdflatex or tectonic is here to compile with")
@pytest.mark.parametrize("count", [3, MOST_ROWS, MOST_ROWS + 1, 60, 150])
def test_every_row_is_on_a_page_of_the_compiled_document(make: SimpleNamespace, tmp_path: Path, count: int) -> None:
    """Compiled with the packages that the file names; TeX itself says what is on which page, and what overflows."""
    latex = to_latex(many(make, count))
    packages = re.findall(r"\\usepackage\{[^}]*\}", latex.splitlines()[0])
    # Written when the page is shipped out, so that what is on no page is not in the file.
    marked = re.sub(r"^((method-\d+|scratch)) &", r"\1\\where{\2} &", latex, flags=re.M)
    (tmp_path / "paper.tex").write_text(
        "\n".join(
            [
                r"\documentclass{article}",
                *packages,
                r"\newwrite\pages\immediate\openout\pages=pages.txt",
                r"\newcommand{\where}[1]{\write\pages{#1 \thepage}}",
                r"\begin{document}",
                marked,
                r"\end{document}",
            ]
        )
    )
    words = (
        [str(ENGINE), "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error"]
        if "pdflatex" in str(ENGINE)
        else [str(ENGINE)]
    )
    for _ in range(2):  # a longtable's columns are settled at the second time
        done = subprocess.run([*words, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    assert "Overfull" not in done.stdout, re.findall(r"Overfull.*", done.stdout)
    pages = dict(line.split() for line in (tmp_path / "pages.txt").read_text().splitlines())
    assert len(pages) == count
    assert (len(set(pages.values())) > 1) == (count >= 60)
