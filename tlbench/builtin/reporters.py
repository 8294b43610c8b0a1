"""Reporters: the leaderboard as Markdown, LaTeX, CSV, JSON and Parquet files, as a badge and as a graph of tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from tlbench.leaderboard.forms import badge, files, latex, task_graph

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tlbench.leaderboard import Leaderboard


@dataclass(frozen=True)
class Markdown:
    """``leaderboard.md``: tables, gain matrices and notes for people."""

    name: ClassVar[str] = "markdown"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        return [files.write_text(folder / "leaderboard.md", files.to_markdown(leaderboard))]


@dataclass(frozen=True)
class Latex:
    """``leaderboard.tex``: a table for a paper from each task and backbone; needs booktabs, and longtable if long."""

    name: ClassVar[str] = "latex"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        return [files.write_text(folder / "leaderboard.tex", latex.to_latex(leaderboard))]


@dataclass(frozen=True)
class Badge:
    """``badge.svg``, the best gain with its interval, and ``badge.json``, the same for shields.io."""

    name: ClassVar[str] = "badge"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        shown = badge.badge(leaderboard)
        return [
            files.write_text(folder / "badge.svg", badge.to_svg(shown)),
            files.write_text(folder / "badge.json", badge.to_json(shown)),
        ]


@dataclass(frozen=True)
class Csv:
    """``leaderboard.csv``, one line a row, and ``pairs.csv``, one line for each strategy and pair."""

    name: ClassVar[str] = "csv"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        frames = {"leaderboard.csv": leaderboard.to_frame(), "pairs.csv": leaderboard.pairs_frame()}
        return [files.write_text(folder / file, files.to_csv(frame)) for file, frame in frames.items()]


@dataclass(frozen=True)
class Json:
    """``leaderboard.json``: everything that the board holds, for programs."""

    name: ClassVar[str] = "json"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        return [files.write_text(folder / "leaderboard.json", files.to_json(leaderboard))]


@dataclass(frozen=True)
class TaskGraph:
    """``task-graph.json`` and ``task-graph.dot``: the gains as graphs of domains, one for each strategy."""

    name: ClassVar[str] = "task-graph"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        found = list(task_graph.graphs(leaderboard))
        return [
            files.write_text(folder / "task-graph.json", json.dumps(found, indent=1)),
            files.write_text(folder / "task-graph.dot", "".join(map(task_graph.to_dot, found))),
        ]


@dataclass(frozen=True)
class Parquet:
    """``leaderboard.parquet``, one line a row, and ``pairs.parquet``, one line for each strategy and pair."""

    name: ClassVar[str] = "parquet"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        frames = {"leaderboard.parquet": leaderboard.to_frame(), "pairs.parquet": leaderboard.pairs_frame()}
        return [files.write(folder / file, partial(files.write_parquet, frame)) for file, frame in frames.items()]
