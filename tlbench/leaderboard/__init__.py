"""Leaderboards: statistics, tables and files, made from records alone; nothing here imports torch."""

from tlbench.leaderboard.board import Leaderboard, build, from_table
from tlbench.leaderboard.columns import COLUMNS, Cell, Column, Sample
from tlbench.leaderboard.model import Group, Matrix, Row
from tlbench.leaderboard.notes import Note
from tlbench.leaderboard.table import Table, columnar

__all__ = [
    "COLUMNS",
    "Cell",
    "Column",
    "Group",
    "Leaderboard",
    "Matrix",
    "Note",
    "Row",
    "Sample",
    "Table",
    "build",
    "columnar",
    "from_table",
]
