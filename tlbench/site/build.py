"""Build: the folder of a site, written whole beside its place and then put there.

OUT/
  index.html          the page; it reads the rest as scripts, so that it works without a server
  assets/             its scripts, styles and libraries
  data/index.js       groups in words, methods, conditions; gG.js one group, gGpQ.js the trials of one pair
  downloads/          the board in every form that a reporter writes, and the trials as CSV
  runs/RUN/           the records behind the board, in the form of a run folder
"""

from __future__ import annotations

import html
import shutil
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench import __version__
from tlbench.errors import StoreError
from tlbench.leaderboard.forms import files
from tlbench.leaderboard.inference.analysis import analyse
from tlbench.site import trials, words
from tlbench.site.encode import Slugs, name, prose, script
from tlbench.site.groups import columns, group_data, places
from tlbench.site.methods import describe, method_ids, methods
from tlbench.site.place import replacing
from tlbench.site.runs import Shipped, ship

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.inference.analysis import Analysis
    from tlbench.leaderboard.model import Group
    from tlbench.loading import Loaded
    from tlbench.plugins import Plugins

MARK = "data/index.js"
ASSETS = Path(__file__).parent / "assets"
TEXTUAL = {
    "leaderboard.md": "the board as Markdown, with matrices, notes and what each column means",
    "leaderboard.csv": "one line for each row of the board",
    "leaderboard.parquet": "the same as Parquet",
    "leaderboard.json": "everything that the board holds, for programs",
    "leaderboard.tex": "tables for a paper",
    "pairs.csv": "one line for each method and pair: gain, interval, verdict",
    "pairs.parquet": "the same as Parquet",
    "trials.csv": "one line for each trial: score, gain, rates, costs, key",
    "task-graph.json": "the gains as graphs of domains",
    "task-graph.dot": "the same for Graphviz",
}


@dataclass(frozen=True)
class Site:
    """What was written: where, how much, and what could not be."""

    folder: Path
    files: int
    bytes: int
    notes: tuple[str, ...]


def build(found: Loaded, plugins: Plugins, out: Path, *, title: str = "") -> Site:
    """Write the site of a board into a folder; one that was there before is replaced whole.

    Raises ``StoreError`` where the folder holds something else, or cannot be written.
    """
    with replacing(out, MARK) as part:
        notes = write_board(found, plugins, part, title).notes
        copy_assets(part)
    return measured(out, notes)


def measured(out: Path, notes: Sequence[str]) -> Site:
    """What lies in the folder of a site now."""
    written = [p for p in out.rglob("*") if p.is_file()]
    return Site(out, len(written), sum(p.stat().st_size for p in written), tuple(notes))


@dataclass(frozen=True)
class Board:
    """A board's pages as written: its name, its groups in words, the runs behind it, what could not be done."""

    title: str
    groups: list[dict[str, Any]]
    shipped: Shipped
    notes: list[str]


def write_board(
    found: Loaded, plugins: Plugins, out: Path, title: str, *, assets: str = "assets", records_in: Path | None = None
) -> Board:
    """Write all of a board but the assets, whose folder the page names.

    ``records_in``: where ``out`` will be in the end; the records stay in their run folders, and the pages lead there
    from it. Without it they are copied.
    """
    board = found.board
    title = name(title or dict(board.conditions).get("suite") or "Leaderboard")
    shipped, notes = ship(found, out, records_in)
    where = shipped.where
    ids = method_ids(board)
    analyses = [analyse(board, group) for group in board.groups]
    groups = _groups(board, analyses, ids)
    _put(out, "data", "methods", methods(board, plugins, ids))
    at = trials.TrialPlaces.of(board)
    for chunk, value in trials.pair_chunks(board, at, found.records, where):
        _put(out, "data", chunk, value)
    for chunk, value in trials.source_chunks(found.records, where):
        _put(out, "data", chunk, value)
    for g, (group, about) in enumerate(zip(board.groups, groups, strict=True)):
        _put(out, "data", f"g{g}", group_data(board, group, analyses[g], ids, about["pairs"]))
    downloads = _downloads(board, plugins, out / "downloads", notes)
    _put(out, "data", "index", {
        "title": title,
        "version": __version__,
        "metric": name(board.metric),
        "points": board.points,
        "columns": columns(board),
        "axes": trials.AXES,
        "fields": trials.FIELDS,
        "groups": [{k: v for k, v in about.items() if k != "pairs"} for about in groups],
        "tasks": _tasks(board, plugins),
        "suites": shipped.suites,
        "runs": shipped.runs,
        "metrics": _metrics(found),
        "notes": [[note.kind, prose(note.text)] for note in board.notes] + [["files", prose(n)] for n in found.notes],
        "conditions": [[name(k), prose(v)] for k, v in board.conditions],
        "downloads": downloads,
    })  # fmt: skip
    _page(board, groups, out, title, assets)
    return Board(title, groups, shipped, notes)


def _put(out: Path, folder: str, chunk: str, value: Any) -> None:
    files.write_text(out / folder / f"{chunk}.js", script(chunk, value))


def _groups(board: Leaderboard, analyses: Sequence[Analysis], ids: Mapping[str, str]) -> list[dict[str, Any]]:
    slugs = Slugs()
    out = []
    for group, found in zip(board.groups, analyses, strict=True):
        summary = words.summary(board, group, found)
        out.append(
            {
                "id": slugs.of(group.title),
                "title": name(group.title),
                "task": name(group.task),
                "backbone": name(group.backbone),
                "against": name(group.against),
                "rows": len(group.rows),
                "names": [name(row.label) for row in group.rows],
                "methods": [ids[row.strategy] for row in group.rows],
                "competing": sum(not row.reference for row in group.rows),
                "compared": group.pairs_compared,
                "planned": group.pairs_planned,
                "lacking": [[name(label), count] for label, count in group.lacking.items()],
                "disjoint": group.disjoint,
                "inapplicable": len(group.inapplicable),
                "targets": [name(t) for t in group.targets],
                "summary": summary,
                "pairs": pair_slugs(group),
                "named": _named(group, summary),
            }
        )
    return out


def _named(group: Group, summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """Title and slug of the pairs that a summary names."""
    said = [part[1] for _, sentence in summary["said"] for part in sentence if part[0] == "pair"]
    pairs, slugs = list(places(group)), pair_slugs(group)
    wanted = sorted({*said, *(line[2] for line in summary["targets"])})
    return {str(q): [name(" → ".join(filter(None, pairs[q]))), slugs[q]] for q in wanted}


def pair_slugs(group: Group) -> list[str]:
    """The address of each pair of the group, in order of ``places``."""
    slugs = Slugs()
    return [slugs.of(f"{source} to {target}" if source else target) for source, target in places(group)]


def _tasks(board: Leaderboard, plugins: Plugins) -> dict[str, str]:
    """What each task of the board is, in a line, where it is installed."""
    axis = board.table.axes["task"]
    known = {plugin: describe("tasks", plugin, plugins) for plugin in set(axis.names)}
    return {
        name(label): about["about"]
        for label, plugin in zip(axis.labels, axis.names, strict=True)
        if (about := known[plugin])
    }


def _metrics(found: Loaded) -> list[str]:
    """The metrics of the trials, that of the board first: what a suite for one of them must name."""
    scored = next((r.metrics[r.scored] for r in found.records.values() if r.scored), {})
    return list(dict.fromkeys([found.board.metric, *map(str, scored)]))[:50]


def _downloads(board: Leaderboard, plugins: Plugins, out: Path, notes: list[str]) -> list[list[Any]]:
    """Every reporter's files, and the trials; a reporter that fails costs its own files only."""
    from tlbench.discovery.checks import where
    from tlbench.reports import write_reports

    out.mkdir(parents=True)
    for reporter in sorted(plugins.offers("reporters")):
        try:
            write_reports(board, out, plugins, [reporter])
        except StoreError:
            raise
        except Exception as error:
            notes.append(f"the reporter {reporter!r} failed: {where(error)}")
    files.write_text(out / "trials.csv", files.to_csv(board.trials_frame()))
    order = list(TEXTUAL)
    found = sorted((p for p in out.rglob("*") if p.is_file()), key=lambda p: (
        order.index(p.name) if p.name in order else len(order), p.name))  # fmt: skip
    return [[p.relative_to(out).as_posix(), p.stat().st_size, TEXTUAL.get(p.name, "")] for p in found]


def _page(board: Leaderboard, groups: Sequence[Mapping[str, Any]], out: Path, title: str, assets: str) -> None:
    """The page itself, the same for all boards but for its title and the text for readers without scripts."""
    escape: Callable[[str], str] = html.escape
    plain = [
        f"<h2>{escape(about['title'])}</h2><p>"
        + " ".join(escape(words.plain(group, said)) for _, said in about["summary"]["said"])
        + "</p>"
        for group, about in zip(board.groups, groups, strict=True)
    ]
    write_page(out, "index.html", title=escape(title), plain="\n".join(plain), assets=assets)


def write_page(out: Path, template: str, **values: str) -> None:
    """Fill in one of the pages; values that are not markup are escaped by now."""
    page = (ASSETS / template).read_text(encoding="utf-8")
    files.write_text(out / "index.html", string.Template(page).substitute(values))


def copy_assets(out: Path) -> None:
    """Scripts, styles and libraries."""
    shutil.copytree(ASSETS, out / "assets", ignore=shutil.ignore_patterns("*.html", "__pycache__"))
