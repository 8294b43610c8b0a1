"""Goals: what P1 to P19 must reach and aim at, where in the tables the figure stands, and the verdict on each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One figure: in ``file``, the rows whose first cells fit ``row`` and the first column whose title fits ``column``.

    ``better``  whether low or high is good; of several rows the worst counts, or with ``best`` the best
    ``must``    the gate; ``None``: there is none, only an aim
    """

    id: str
    what: str
    file: str
    row: str
    column: str
    better: Literal["low", "high"]
    must: float | None
    aim: float | None
    unit: str = ""
    best: bool = False
    gpu: bool = False


class Verdict(NamedTuple):
    """A figure as it stands in the tables, and how it stands to its gate and aim."""

    figure: Figure
    value: float | None
    word: str
    commit: str


GPU = {"gpu": True, "best": True}
FIGURES = (
    Figure("P1", "`ctx.train` ÷ a loop by hand, CNN 32²", "p1", "CNN", "^ratio", "low", 1.02, 1.01),
    Figure("P1", "`ctx.train` ÷ a loop by hand, MLP", "p1", "MLP", "^ratio", "low", 1.05, 1.01),
    Figure("P2", "fresh process ÷ switch of a warm worker", "p2", "", "^ratio", "high", 50, None),
    Figure("P2", "switch of a warm worker", "p2", "", "^switch", "low", None, 10, "ms"),
    Figure("P3", "DataLoader ÷ resident, loading, 32 px", "p3", "32 px, loading", "^ratio", "high", 20, 39),
    Figure("P3", "DataLoader ÷ resident, end to end, 32 px", "p3", "32 px, end to end", "^ratio", "high", 1.4, 1.7),
    Figure("P4", "linear probe, naive ÷ cached", "p4", "1 rate: naive", "^ratio", "high", 40, 63),
    Figure("P4", "13 rates, naive ÷ jointly", "p4", "13 rates: naive", "^ratio", "high", 70, 115),
    Figure(
        "P5", "8 MLPs one by one ÷ fused", "p5", r"MLP 64-(64|128-64)(,|$| \()|trials, MLP", "^ratio", "high", 2.5, 2.9
    ),
    Figure("P5", "with the decision, any network", "p5", "", "^ratio", "high", 0.97, 1.0),
    Figure("P6", "CUDA graph ÷ plain steps, ResNet-18 32²", "p6", "bfloat16", "^ratio", "high", 3, 5, **GPU),  # type: ignore[arg-type]
    Figure("P7", "trials at once ÷ one by one, one GPU", "p7", "", "^ratio", "high", 1.5, 3, **GPU),  # type: ignore[arg-type]
    Figure("P8", "source trainings done ÷ distinct ones", "p8", "", "^trainings of", "low", 1, 1),
    Figure("P8", "each by itself ÷ shared, 4 domains", "p8", "source 3 x target", "^ratio", "high", 2.3, 2.76),
    Figure("P9", "600 logistic heads, loop ÷ together", "p9", "^logistic, 5 ways", "^ratio", "high", 6, 30),
    Figure(
        "P9", "whole trials of 600 episodes, 512 features", "p9", "^good-embedding; 5.* 512", "^ratio", "high", None, 6
    ),
    Figure("P10", "features, float32 ÷ bfloat16", "p10", "", "^ratio", "high", 1.8, 2.7),
    Figure("P11", "plan of 100,000 trials", "p11", "^100,000 trials", "^plan", "low", 1.0, 0.4, "s"),
    Figure(
        "P12", "board of 1,000,000 records, from the index", "p12", "^1,0[01]", "^index: wall", "low", 1.5, 0.7, "s"
    ),
    Figure("P12", "board of 1,000,000 records, from text", "p12", "^1,0[01]", "^text: wall", "low", 10, None, "s"),
    Figure("P13", "`tlbench --help`", "p13", "--help", "^wall", "low", 0.15, 0.08, "s"),
    Figure("P14", "100,000 finished trials looked at again", "p14", "^10[0-9],", "as kept", "low", 1, None, "s"),
    Figure("P15", "evaluation's share, default protocol", "p15", "digits", "evaluation's share", "low", 10, None, "%"),
    Figure("P16", "ResNet-50, 224², images/s", "p16", "P16", "^images/s", "high", 3_500, 5_000, **GPU),  # type: ignore[arg-type]
    Figure("P17", "ViT-S/16, 224², images/s", "p16", "P17", "^images/s", "high", 5_500, 7_700, **GPU),  # type: ignore[arg-type]
    Figure("P18", "ResNet-18 (CIFAR stem), 32², images/s", "p16", "P18", "^images/s", "high", 60_000, 85_000, **GPU),  # type: ignore[arg-type]
    Figure("P19", "driver ÷ tlbench, a whole matrix", "p19", "all, processor", "^ratio", "high", 5, 10),
)


def judged(figure: Figure, folder: Path, why_missing: str = "") -> Verdict:
    """The figure as it stands in its table; ``why_missing`` says why there is no table."""
    path = folder / f"{figure.file}.md"
    if not path.is_file():
        return Verdict(figure, None, f"not measured{f': {why_missing}' if why_missing else ''}", "")
    text = path.read_text()
    found = list(_cells(figure, text))
    commit = (re.findall(r"commit ([0-9a-f]{7})", text) or [""])[-1]
    if not found:
        return Verdict(figure, None, f"not found in {path.name}", commit)
    worst = (min if figure.better == "high" else max) if not figure.best else max if figure.better == "high" else min
    value, gated = worst(found)
    return Verdict(figure, value, _word(figure, value) if gated else "no gate on this machine", commit)


def _word(figure: Figure, value: float) -> str:
    def reached(goal: float | None) -> bool:
        return goal is not None and (value >= goal if figure.better == "high" else value <= goal)

    if figure.must is not None and not reached(figure.must):
        return "**missed**"
    if reached(figure.aim):
        return "aim reached"
    return "gate reached" if figure.must is not None else "aim missed"


def _cells(figure: Figure, text: str) -> list[tuple[float, bool]]:
    """The numbers of the fitting rows, and whether the row has a gate."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        titles, _, *rows = [[c.strip() for c in line.strip().strip("|").split("|")] for line in table.splitlines()]
        at = next((i for i, title in enumerate(titles) if re.search(figure.column, title)), None)
        gates = [i for i, title in enumerate(titles) if title.startswith("gate")]
        for cells in rows:
            if at is None or not re.search(figure.row, " ".join(cells[:2])) or at >= len(cells):
                continue
            share = re.fullmatch(r"(\d+) of (\d+)", cells[at])
            if share is not None:  # so many done, of so many distinct
                found.append((int(share[1]) / int(share[2]), True))
                continue
            number = re.search(r"\*\*(-?[\d,.]*\d)", cells[at]) or re.search(r"(-?[\d,.]*\d)", cells[at])
            if number is not None:
                gated = figure.gpu or not gates or figure.id != "P10" or cells[gates[0]] not in ("", "–")
                found.append((float(number[1].replace(",", "")), gated))
    return found


def summary(verdicts: list[Verdict]) -> list[tuple[str, ...]]:
    """Rows of the table of all: id, what, measured, gate, aim, verdict, commit."""

    def said(value: float | None, unit: str) -> str:
        return (
            "–"
            if value is None
            else f"{value:,.0f}" + f" {unit}".rstrip()
            if value >= 1000
            else f"{value:g} {unit}".strip()
        )

    rows = []
    for f, value, word, commit in verdicts:
        sign = "≤ " if f.better == "low" else "≥ "
        gate, aim = (sign + said(goal, f.unit) if goal is not None else "–" for goal in (f.must, f.aim))
        rows.append((f.id, f.what, said(value, f.unit), gate, aim, word, commit))
    return rows
