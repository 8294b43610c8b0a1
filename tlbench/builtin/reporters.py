"""Reporters: the leaderboard as Markdown, CSV, JSON and Parquet files, and as a graph of tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from tlbench.leaderboard import files, task_graph

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
            files.write_text(folder / "task-graph.json", json.dumps(found, indent=1, ensure_ascii=False)),
            files.write_text(folder / "task-graph.dot", "".join(map(task_graph.to_dot, found))),
        ]


@dataclass(frozen=True)
class Parquet:
    """``leaderboard.parquet``, one line a row, and ``pairs.parquet``, one line for each strategy and pair."""

    name: ClassVar[str] = "parquet"

    def report(self, leaderboard: Leaderboard, folder: Path) -> Iterable[Path]:
        frames = {"leaderboard.parquet": leaderboard.to_frame(), "pairs.parquet": leaderboard.pairs_frame()}
        return [files.write(folder / file, partial(files.write_parquet, frame)) for file, frame in frames.items()]
