"""Looking at an exchange of runs: what a merge, a verification and a rescoring did, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tlbench.discovery.checks import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tlbench.results.integrity import Fault
    from tlbench.results.merge import Conflict, Merged
    from tlbench.results.rescore import Rescored
    from tlbench.results.verify import Check, Verification

MOST = 20
"""So many of one kind are shown; the rest are counted, and all are in the JSON."""
_STYLES = {"verified": "bold green", "self-reported": "bold yellow", "failed": "bold red"}
_OUTCOMES = {"equal": ("✓", "green"), "close": ("≈", "green"), "different": ("✗", "red"), "not run": ("–", "yellow")}


def _line(mark: str, text: str, style: str) -> Text:
    return Text.assemble((f"{mark} ", style), printable(text))


def _some(title: str, lines: Sequence[Text], style: str = "bold") -> list[RenderableType]:
    if not lines:
        return []
    rest = [Text(f"  and {len(lines) - MOST} more", "dim")] if len(lines) > MOST else []
    return [Text(f"\n{title}", style), *lines[:MOST], *rest]


def _faults(faults: Sequence[Fault], folder: str = "") -> list[RenderableType]:
    lines = [f"{f.check}: {f.line.replace(f'{folder}/', '') if folder else f.line}" for f in faults]
    return _some("what is wrong", [_line("✗", line, "red") for line in lines], "bold red")


# ---- verify --------------------------------------------------------------------------------------


def verification_view(found: Verification) -> RenderableType:
    """The checks one by one, what was run again, what is wrong, and how far the run may be believed."""
    from tlbench.results.verify import MEANING

    head = Text.assemble((printable(str(found.folder)), "bold"), "  ", (found.status, _STYLES[found.status]))
    if found.status == "self-reported":
        head.append("  nothing is wrong; ", "dim")
        head.append("some could not be run again" if found.reruns else "nothing was run again: --rerun N", "dim")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in found.checks:
        mark, style = _mark(check)
        said = f"{check.failed:,} of {check.checked:,}" if check.failed else f"{check.checked:,}" * bool(check.checked)
        what = Text(MEANING[check.name])
        if check.skipped:
            what.append(f"  not checked: {printable(check.skipped)}", "yellow")
        elif not check.checked:
            what.append("  there are none", "dim")
        table.add_row(Text(mark, style), Text(check.name, "bold"), Text(said, style, justify="right"), what)
    parts: list[RenderableType] = [head, Text(), table]
    again = [_line(_OUTCOMES[r.outcome][0], f"{r.title}: {r.text}", _OUTCOMES[r.outcome][1]) for r in found.reruns]
    parts += _some(f"run again (seed {found.sample.get('seed')})", again)
    other = sorted({c for r in found.reruns for c in r.conditions})
    parts += [Text(f"  not the same here as there: {printable('; '.join(other))}", "dim")] if other else []
    parts += _some("to know", [_line("·", note, "yellow") for note in found.notes])
    parts += _faults(found.faults, str(found.folder))
    return Group(*parts)


def _mark(check: Check) -> tuple[str, str]:
    if check.failed:
        return "✗", "red"
    return ("✓", "green") if check.checked else ("–", "dim")


# ---- merge ---------------------------------------------------------------------------------------


def merged_view(found: Merged) -> RenderableType:
    """Where each result came from, what agrees, and what contradicts: every value with its file."""
    runs = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in ("run", "records", "that count", "damaged"):
        runs.add_column(name, justify="left" if name == "run" else "right", overflow="fold")
    for run in found.runs:
        runs.add_row(
            Text(printable(run["folder"])), f"{run['records']:,}", f"{run['used']:,}", f"{run['faults'] or '–'}"
        )
    copied = ", ".join(f"{count} files of {name}" for name, count in found.files.items())
    said = f"{found.results:,} results in {found.out}; {found.equal:,} are in several runs and equal"
    parts: list[RenderableType] = [runs, Text(f"\n{printable(said)}"), *([Text(f"{copied} copied")] if copied else [])]
    parts += _some("told apart", [_line("·", text, "cyan") for text in found.versions])
    parts += _some("the same within the tolerance", [_line("≈", text, "green") for text in found.close])
    parts += _some("a result in one run, none in another", [_line("·", text, "yellow") for text in found.superseded])
    parts += _some("different results of one trial", [_conflict(c) for c in found.conflicts], "bold red")
    if any(c.taken is None for c in found.conflicts):
        parts.append(Text("they are left out; --prefer RUN takes that run's", "dim"))
    parts += _some("to know", [_line("·", n, "yellow") for run in found.runs for n in run["notes"]])
    parts += _faults(found.faults)
    return Group(*parts)


def _conflict(conflict: Conflict) -> Text:
    text = _line("✗", f"{conflict.key[:12]}  {conflict.title}: {conflict.text}", "red")
    for candidate in conflict.candidates:
        taken = "  taken" if candidate.run == conflict.taken else ""
        scores = ", ".join(f"{n} {v:.6g} on {p}" for p, s in candidate.record.metrics.items() for n, v in s.items())
        text.append(f"\n    {printable(f'{candidate.where}: {scores or candidate.record.status}')}{taken}", "dim")
    return text


# ---- rescore -------------------------------------------------------------------------------------


def rescored_view(found: Rescored, metrics: Sequence[str], folder: Path) -> RenderableType:
    """How many results gained the metrics, and which could not."""
    head = Text.assemble((f"{found.added:,}", "bold"), f" results gained {', '.join(metrics)}")
    if found.had:
        head.append(f"; {found.had:,} had them")
    reasons: dict[str, list[str]] = {}
    for key, why in found.lacking.items():
        reasons.setdefault(why.replace(f"{key} ", ""), []).append(key[:12])
    lines = [
        _line("✗", f"{len(keys):,}: {why} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})", "red")
        for why, keys in reasons.items()
    ]
    parts = [head, *_some("without", lines, "bold red")]
    if found.added or found.had:
        parts.append(Text(f"`tlbench leaderboard {folder} --metric {metrics[0]}` ranks by it", "dim"))
    return Group(*parts)
