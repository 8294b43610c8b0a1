"""Collection: a site for each of several runs, under one front page that says what each is about and what it found.

OUT/
  index.html          the front page
  assets/             scripts, styles and libraries of all pages
  data/index.js       the boards and their cases in short
  boards/BOARD/       one site, as ``build`` writes it but for the assets
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from tlbench import __version__
from tlbench.leaderboard.forms import files
from tlbench.site.build import ASSETS, MARK, Board, Site, copy_assets, measured, write_board, write_page
from tlbench.site.encode import Slugs, name, script
from tlbench.site.place import replacing, way

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tlbench.loading import Loaded
    from tlbench.plugins import Plugins

_SHORT = ("id", "task", "backbone", "against", "names", "methods", "competing", "compared", "targets")
_SUMMARY = ("state", "best", "gain", "here", "hurts")


def build_each(found: Sequence[Loaded], plugins: Plugins, out: Path, *, title: str = "", linked: bool = False) -> Site:
    """Write a site for each board into one folder, with a front page; one that was there before is replaced whole.

    ``linked``: the pages lead to the records in the run folders and to the assets of this package, by relative
    addresses, instead of to copies; the site is then part of the tree that has all three. Raises ``StoreError`` where
    the folder holds something else, or cannot be written.
    """
    title = name(title or "Leaderboards")
    assets = way(out, ASSETS) if linked else "assets"
    slugs = Slugs()
    boards: list[dict[str, Any]] = []
    notes: list[str] = []
    with replacing(out, MARK) as part:
        for one in found:
            slug = slugs.of(one.folders[0].path.resolve().name)
            place = out / "boards" / slug if linked else None
            made = write_board(
                one,
                plugins,
                part / "boards" / slug,
                "",
                assets=f"../../{assets}",
                records_in=place if linked else None,
            )
            boards.append(_about(slug, one, made))
            notes += [f"{slug}: {note}" for note in (*one.notes, *made.notes)]
        if not linked:
            copy_assets(part)
        about = {"title": title, "version": __version__, "boards": boards}
        files.write_text(part / MARK, script("index", about))
        write_page(part, "front.html", title=html.escape(title), plain=_plain(boards), assets=assets)
    return measured(out, notes)


def _about(slug: str, found: Loaded, made: Board) -> dict[str, Any]:
    """What the front page says of a board."""
    standings = [run["status"] for run in made.shipped.runs]
    worst = next((s for s in ("failed", "self-reported") if s in standings), "verified")
    said = next((s for s in made.shipped.suites if s["description"]), {"description": ""})
    return {
        "id": slug,
        "title": made.title,
        "about": " ".join(said["description"].split()),
        "metric": name(found.board.metric),
        "points": found.board.points,
        "trials": sum(run["records"] for run in made.shipped.runs),
        "status": worst,
        "standing": "; ".join(run["standing"] for run in made.shipped.runs),
        "groups": [_short(group) for group in made.groups],
    }


def _short(group: Mapping[str, Any]) -> dict[str, Any]:
    summary = group["summary"]
    kinds = [[kind] for kind, _ in summary["said"]]
    return {key: group[key] for key in _SHORT} | {"summary": {key: summary[key] for key in _SUMMARY} | {"said": kinds}}


def _plain(boards: Sequence[Mapping[str, Any]]) -> str:
    said = ((board["id"], html.escape(board["title"]), html.escape(board["about"])) for board in boards)
    return "<ul>\n" + "\n".join(f'<li><a href="boards/{b}/index.html">{t}</a> {a}</li>' for b, t, a in said) + "\n</ul>"
