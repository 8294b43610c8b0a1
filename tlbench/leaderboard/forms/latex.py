"""LaTeX: a table for a paper from each group of the board, with intervals, and names made harmless.

The tables need the package booktabs and compile with pdfTeX, XeTeX and LuaTeX. One of more rows than a page holds is a
longtable, which needs that package and pages of one column.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

from tlbench.leaderboard.inference.leading import lead
from tlbench.leaderboard.text import MINUS, bounded, clean, number
from tlbench.leaderboard.views.layout import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Cell
    from tlbench.leaderboard.inference.leading import Lead
    from tlbench.leaderboard.model import Group, Row

WIDEST = 36
MOST_ROWS = 40
"""Rows of a floating table, which cannot go on on the next page."""
DAGGER = r"\textsuperscript{\(\dagger\)}"
NONE = "--"
END = r" \\"

# ---- names ---------------------------------------------------------------------------------------

_SPECIAL: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "`": r"\`{}", "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
"""``[`` and ``*`` would belong to a line break before them."""
_SYMBOLS: Mapping[str, str] = {
    "→": r"\(\to\)", "←": r"\(\leftarrow\)", "↔": r"\(\leftrightarrow\)", "×": r"\(\times\)", "÷": r"\(\div\)",
    "±": r"\(\pm\)", "·": r"\(\cdot\)", "−": r"\(-\)", "–": "--", "—": "---", "…": r"\ldots{}", "∞": r"\(\infty\)",
    "≤": r"\(\leq\)", "≥": r"\(\geq\)", "≈": r"\(\approx\)", "°": r"\(^\circ\)", "²": r"\(^2\)", "³": r"\(^3\)",
    "‘": "`", "’": "'", "“": "``", "”": "''", "µ": r"\(\mu\)", "\u00a0": "~", "ß": r"\ss{}", "æ": r"\ae{}",
    "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}",
    "ı": r"\i{}", "§": r"\S{}", "©": r"\copyright{}", "†": r"\(\dagger\)",
}  # fmt: skip
_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
     "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
     "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
)  # fmt: skip
_ACCENTS: Mapping[str, str] = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip


def escape(name: object) -> str:
    """A name for the text of a LaTeX document, which no character of it can act on.

    Latin letters with accents, Greek ones and common signs stay themselves, whatever the engine and its fonts; others
    are named by their number, as in ``U+6570``.
    """
    # Two hyphens side by side would become one dash.
    return re.sub("-(?=-)", "-{}", "".join(map(_escaped, clean(name))))


def _escaped(c: str) -> str:
    if (known := _SPECIAL.get(c) or _SYMBOLS.get(c)) is not None:
        return known
    if c.isascii():
        return c
    letter, *accents = list(unicodedata.normalize("NFD", c))
    if len(accents) == 1 and letter.isascii() and letter.isalpha() and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{letter}}}"
    words = unicodedata.name(c, "").split()
    if words[:1] == ["GREEK"] and words[2:3] == ["LETTER"] and len(words) == 4:
        letter = words[3].replace("LAMDA", "LAMBDA").lower()
        letter = letter.capitalize() if words[1] == "CAPITAL" else letter
        if letter in _GREEK:
            return rf"\(\{letter}\)"
    return rf"\texttt{{U+{ord(c):04X}}}"


# ---- tables --------------------------------------------------------------------------------------


def to_latex(board: Leaderboard) -> str:
    """A table for each group that has rows, with a caption that says what, on how much and how sure.

    It floats, but for one of more than ``MOST_ROWS`` rows, which is broken across pages.
    """
    groups = [g for g in board.groups if g.rows]
    tables = [line for i, group in enumerate(groups, 1) for line in ("", *_table(board, group, i))]
    is_long = any(len(group.rows) > MOST_ROWS for group in groups)
    packages = r"\usepackage{booktabs,longtable}, and pages of one column" if is_long else r"\usepackage{booktabs}"
    return "\n".join([f"% Written by tlbench. In the preamble: {packages}", *tables]) + "\n"


def _table(board: Leaderboard, group: Group, index: int) -> list[str]:
    rows = [r for r in group.rows if not r.reference]
    references = [r for r in group.rows if r.reference]
    ahead = lead(board, group)
    gap = any(r.cells["gap_closed"].value is not None for r in rows)
    judged = any(r.cells["helps"].value is not None for r in rows)
    sure = any(r.cells["gain"].low is not None for r in rows)
    align = (
        "lr" + ("r@{\\hspace{2pt}}l" if sure else "r") + "r@{\\hspace{2pt}}l" * gap + "rrrr@{\\hspace{2pt}}l" * judged
    )
    width = 3 + sure + 2 * gap + 5 * judged
    head = ["Strategy", "Score", *_two(r"Transfer gain", sure)]
    below = ["", "", *([""] * (1 + sure))]
    rule = ""
    if gap:
        head += _two(r"Gap closed, \%")
        below += ["", ""]
    if judged:
        start = width - 4
        head += [r"\multicolumn{3}{c}{Pairs}", *_two(r"Negative")]
        below += ["helped", "undec.", "hurt", *_two(r"transfer, \%")]
        rule = rf"\cmidrule(lr){{{start}-{start + 2}}}"
    names = dict(zip(map(id, group.rows), shorten([r.label for r in group.rows], WIDEST), strict=True))
    best = id(ahead.best) if ahead is not None and ahead.real else None
    body = [
        _line(board, row, names[id(row)], id(row) == best, sure=sure, gap=gap, judged=judged)
        for row in (*rows, *references)
    ]
    aside = [r"\midrule"] if rows and references else []
    top = [r"\toprule", " & ".join(head) + END, *([rule, " & ".join(below) + END] if judged else []), r"\midrule"]
    lines = [*body[: len(rows)], *aside, *body[len(rows) :]]
    caption, label = _caption(board, group, ahead), rf"\label{{tab:transfer-{index}}}"
    if len(group.rows) > MOST_ROWS:
        return _long(align, top, lines, caption, label)
    return [
        r"\begin{table}",
        r"\centering",
        r"\setlength{\belowcaptionskip}{6pt}",
        rf"\caption{{{caption}}}",
        label,
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{@{{}}{align}@{{}}}}",
        *top,
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _long(align: str, top: Sequence[str], lines: Sequence[str], caption: str, label: str) -> list[str]:
    """The same table over as many pages as it takes, its head on each."""
    return [
        r"\begingroup",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        r"\setlength{\LTcapwidth}{\textwidth}",
        rf"\begin{{longtable}}{{@{{}}{align}@{{}}}}",
        rf"\caption{{{caption}}}",
        label,
        r"\\",
        *top,
        r"\endfirsthead",
        r"\caption[]{(continued)}",
        r"\\",
        *top,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *lines,
        r"\end{longtable}",
        r"\endgroup",
    ]


def _two(title: str, two: bool = True) -> list[str]:
    return [rf"\multicolumn{{2}}{{c}}{{{title}}}" if two else title]


def _line(board: Leaderboard, row: Row, name: str, bold: bool, *, sure: bool, gap: bool, judged: bool) -> str:
    mark = DAGGER if row.cells["selection"].mark == "oracle" else ""
    gain = row.cells["gain"]
    cells = [escape(name) + mark, _number(board, row.cells["score"].value)]
    if row.reference:
        cells += _two(rf"\emph{{{gain.text}}}", sure)
    else:
        shown = _number(board, gain.value, signed=True)
        cells += [rf"\textbf{{\boldmath{shown}}}" if bold else shown, *([_interval(board, gain)] if sure else [])]
    if gap:
        cells += _share(row.cells["gap_closed"])
    if judged:
        counts = [row.cells[key].value for key in ("helps", "undecided", "hurts")]
        cells += ["" if row.reference else NONE if n is None else f"{n:.0f}" for n in counts]
        cells += _share(row.cells["negative_rate"])
    return " & ".join(cells) + END


def _number(board: Leaderboard, value: object, signed: bool = False) -> str:
    """In the units of the board, as mathematics, so that the minus is one."""
    if not isinstance(value, float) or not math.isfinite(value):
        return NONE
    shown = number(100 * value if board.points else value, 1 if board.points else 3, signed)
    return f"${shown.replace(MINUS, '-')}$"


def _interval(board: Leaderboard, cell: Cell) -> str:
    ends = [_number(board, end, signed=True).strip("$") for end in (cell.low, cell.high)]
    return "" if NONE in ends else f"$[{ends[0]}, {ends[1]}]$"


def _share(cell: Cell) -> list[str]:
    """A share in per cent and its interval, in two columns."""
    value, low, high = (
        None if not isinstance(v, float) else f"{100 * v:.0f}" for v in (cell.value, cell.low, cell.high)
    )
    return ["" if value is None else f"${value}$", "" if low is None else f"$[{low}, {high}]$"]


# ---- captions ------------------------------------------------------------------------------------


def _caption(board: Leaderboard, group: Group, ahead: Lead | None) -> str:
    metric = escape(bounded(board.metric))
    unit = rf"points of {metric} (\(\times 100\))" if board.points else metric
    direction = "" if board.table.higher_is_better else "; a lower score is better, and a positive gain an improvement"
    over = rf" over \emph{{{escape(bounded(group.against))}}}" if group.against else ""
    title = rf"\emph{{{escape(bounded(group.task))}}} with backbone \emph{{{escape(bounded(group.backbone))}}}"
    seeds = dict(board.conditions).get("seeds", "")
    said = [
        f"Transfer gain{over} on {title}, in {unit}{direction}.",
        f"Means over {group.pairs_compared} of {group.pairs_planned} pairs of source and target"
        + (f" and {escape(seeds)}." if seeds else "."),
    ]
    if group.disjoint:
        said.append("No pair and seed is common to all rows, so the rows are not comparable.")
    elif group.lacking:
        said.append("All rows are compared on the pairs and seeds that all of them have.")
    rows = [r for r in group.rows if not r.reference]
    if any(r.cells["gain"].low is not None for r in rows):
        said.append(r"In brackets: 95\,\% intervals, that of the gain over sources, targets and seeds.")
    else:
        said.append("One seed: no intervals.")
    if any(r.cells["helps"].value is not None for r in rows):
        said.append(
            r"Helped, undec(ided), hurt: pairs whose own 95\,\% interval over the seeds is above 0, includes it or is "
            "below; negative transfer: the share of pairs that are hurt, with its Wilson interval."
        )
    said += _leading(board, ahead)
    if any(r.cells["selection"].mark == "oracle" for r in group.rows):
        said.append(rf"{DAGGER}Chosen by test labels (oracle): not a fair result, and never in bold.")
    if rows and any(r.reference for r in group.rows):
        said.append("Below the rule: references.")
    return " ".join(said)


def _leading(board: Leaderboard, ahead: Lead | None) -> Sequence[str]:
    """What is in bold, and why; or why nothing is."""
    if ahead is None:
        return []
    first, second = (escape(bounded(r.label, WIDEST)) for r in (ahead.best, ahead.next))
    value, low, high = (_number(board, v, signed=True).strip("$") for v in ahead.difference)
    if NONE in (low, high):
        return ["Nothing is in bold: without repeated seeds no difference is known to be real."]
    of = rf"the paired difference of \emph{{{first}}} and \emph{{{second}}}, ${value}$ $[{low}, {high}]$,"
    if ahead.real:
        return [f"Bold: the largest gain, as {of} excludes 0."]
    return [f"Nothing is in bold: {of} includes 0."]
