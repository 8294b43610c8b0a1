"""Words: what a group shows, in sentences: what won, what hurt, what is undecided, and how sure that is.

A sentence is a list of texts and of links: ``["row", k]`` to a method, ``["pair", q]`` to a pair. "Better" and "worse"
are said only where a 95 % interval of the board lies on one side of zero: that over other sources and targets, or that
of these very pairs, and which of them is said too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlbench.leaderboard import text
from tlbench.site.encode import name
from tlbench.site.groups import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Cell
    from tlbench.leaderboard.inference.analysis import Analysis
    from tlbench.leaderboard.model import Group, Row

LISTED = 6
FEW = 5
"""Intervals over fewer pairs are rough, as the board's notes say."""

Sentence = list[str | list[Any]]


def summary(board: Leaderboard, group: Group, found: Analysis) -> dict[str, Any]:
    """The sentences of one group, the row that won, and for each target what did best there.

    ``state``: ``clear`` (a row is better than the reference, to be expected on other sources and targets too), ``here``
    (better on these pairs alone), ``undecided``, ``worse`` (all rows are), ``unknown`` (no intervals) or ``empty``.
    """
    judged = [(k, r) for k, r in enumerate(group.rows) if _fair(r) and isinstance(r.cells["gain"].value, float)]
    general = {k: _side(r.cells["gain"]) if _several(r) else 0 for k, r in judged}
    here = {k: _side(r.cells["gain_here"]) or general[k] for k, r in judged}
    known = [k for k, r in judged if r.cells["gain"].low is not None or r.cells["gain_here"].low is not None]
    state, candidates = _state(general, here, bool(known))
    best = max(candidates, key=lambda k: float(group.rows[k].cells["gain"].value or 0.0), default=None)
    said: list[list[Any]] = []
    if best is not None:
        said.append(["best", _best(board, group, state, best)])
        also = [k for k in candidates if k != best] if state in {"clear", "here"} else []
        if also:
            where = "Also better" if state == "clear" else "Also better on these pairs"
            said.append(["also", [f"{where}: ", *_rows(also), "."]])
        safe = _safest(group, best, candidates) if state in {"clear", "here"} else None
        if safe is not None:
            hurts = group.rows[safe].cells["hurts"].text
            only = "no pair" if hurts == "0" else f"{hurts} {_s(int(hurts), 'pair')} only"
            gain = _points(float(group.rows[safe].cells["gain"].value or 0.0), board)
            said.append(["safe", ["Safest of these: ", ["row", safe], f", {gain}, which hurts in {only}."]])
        if state == "clear" and (beside := [k for k in here if here[k] > 0 and general[k] <= 0]):
            said.append(["also", ["Better on these pairs, with no more said about others: ", *_rows(beside), "."]])
        fair = {k for k, row in enumerate(group.rows) if _fair(row)}
        alike = [k for k in _alike(group, found, best) if k in fair]
        if alike and state in {"clear", "here"}:
            said.append(["alike", ["By mean rank over the pairs it cannot be told apart from ", *_rows(alike), "."]])
        said += _hurt(group, [k for k in here if here[k] < 0] if state != "worse" else [], judged)
        rest = [k for k in here if here[k] == 0]
        if rest and state in {"clear", "here"}:
            said.append(["undecided", ["Undecided on average: ", *_rows(rest), "."]])
    said.append(["sure", _sure(group, judged)])
    cell = group.rows[best].cells if best is not None else {}
    return {
        "state": state,
        "best": best,
        "gain": name(cell["gain"].text) if cell else "",
        "here": name(cell["gain_here"].text) if cell and cell["gain_here"].value is not None else "",
        "hurts": [k for k, r in judged if r.cells["hurts"].value],
        "said": said,
        "targets": _by_target(board, group),
    }


def _state(general: Mapping[int, int], here: Mapping[int, int], known: bool) -> tuple[str, list[int]]:
    """The state of a group, and the rows among which the best is sought."""
    if not known:
        return "unknown" if here else "empty", list(here)
    for state, sides in (("clear", general), ("here", here)):
        better = [k for k, side in sides.items() if side > 0]
        if better:
            return state, better
    return "worse" if all(side < 0 for side in here.values()) else "undecided", list(here)


def _safest(group: Group, best: int, candidates: Sequence[int]) -> int | None:
    """The one that hurts in the fewest pairs, of equal ones that of the highest gain; none where the best does."""

    def order(k: int) -> tuple[int, float]:
        row = group.rows[k]
        return row.pairs.verdict.count("hurts"), -float(row.cells["gain"].value or 0.0)

    known = [k for k in (best, *candidates) if group.rows[k].cells["hurts"].value is not None]
    first = min(known, key=order, default=best)
    return first if order(first)[0] < order(best)[0] else None


def _side(cell: Cell) -> int:
    """1 where the interval is above zero, -1 where it is below, 0 where neither or where there is none."""
    if cell.low is None or cell.high is None:
        return 0
    return 1 if cell.low > 0 else -1 if cell.high < 0 else 0


def _several(row: Row) -> bool:
    """Whether the interval of the gain is over pairs; that of one pair is over its seeds alone."""
    return int((row.compared > 0).sum()) > 1


def _fair(row: Row) -> bool:
    return not row.reference and row.cells["selection"].mark != "oracle" and row.cells["gain"].text != "ceiling"


def _rows(places_: Sequence[int]) -> Sentence:
    """``a, b and c``, or the first few and how many more."""
    shown = list(places_[:LISTED])
    out: Sentence = []
    for i, k in enumerate(shown):
        last = i == len(shown) - 1 and len(places_) <= LISTED
        out += [*([] if not i else [" and "] if last else [", "]), ["row", k]]
    return [*out, f" and {len(places_) - LISTED} more"] if len(places_) > LISTED else out


def _points(value: float, board: Leaderboard) -> str:
    return text.number(100 * value if board.points else value, 1 if board.points else 3, signed=True)


def _best(board: Leaderboard, group: Group, state: str, k: int) -> Sentence:
    row, against = group.rows[k], name(group.against or "the reference")
    gain, here = row.cells["gain"], row.cells["gain_here"]
    value = _points(float(gain.value or 0.0), board) + (" points" if board.points else "")
    if state == "unknown":
        return [f"Highest mean gain over {against}: ", ["row", k], f", {value}. One seed gives no interval, so whether "
                "that is more than chance is unknown."]  # fmt: skip
    seeds = f", {here.text} under other seeds" if here.value is not None else ""
    several = _several(row)
    ends = (
        f"{_points(gain.low, board)} to {_points(gain.high or 0.0, board)}" if gain.low is not None and several else ""
    )
    if state == "clear":
        return [["row", k], f" gained most over {against}: {value}{seeds}; to be expected on other sources and targets "
                f"like these: {ends}{_counts(row)}."]  # fmt: skip
    beyond = f" Over other sources and targets like these the interval is {ends}, with zero in it." if ends else ""
    beyond = beyond if several else " One pair says nothing of other sources and targets."
    if state == "here":
        return ["On these pairs ", ["row", k], f" gained most over {against}: {value}{seeds}{_counts(row)}.{beyond}"]
    if state == "worse":
        return [f"No method pays here: on these pairs every one is worse than {against}. The least bad is ", ["row", k],
                f", {value}{seeds}."]  # fmt: skip
    return [f"No method is clearly better than {against} on average. The highest mean gain is that of ", ["row", k],
            f", {value}{seeds}{_counts(row)}.{beyond}"]  # fmt: skip


def _counts(row: Row) -> str:
    if row.cells["helps"].value is None or len(row.pairs.mean) < 2:
        return ""
    helps, hurts, undecided = (row.cells[key].text for key in ("helps", "hurts", "undecided"))
    return f"; it helps in {helps}, hurts in {hurts} and is undecided in {undecided} pairs"


def _alike(group: Group, found: Analysis, best: int) -> list[int]:
    """The rows that share a clique with this one, in the order of the board."""
    labels = [row.label for row in group.rows]
    at = [labels.index(label) for label in found.strategies]
    together = {at[i] for clique in found.cliques if best in {at[j] for j in clique} for i in clique}
    return sorted(together - {best})


def _hurt(group: Group, worse: Sequence[int], judged: Sequence[tuple[int, Row]]) -> list[list[Any]]:
    against = name(group.against or "the reference")
    out: list[list[Any]] = []
    if worse:
        out.append(["hurt", [f"Worse than {against} on average over these pairs: ", *_rows(worse), "."]])
    at = places(group)
    in_pairs = [(k, r) for k, r in judged if r.cells["hurts"].value]
    if in_pairs:
        in_pairs.sort(key=lambda kr: -kr[1].pairs.verdict.count("hurts"))
        said: Sentence = ["Negative transfer: "]
        for i, (k, row) in enumerate(in_pairs[:LISTED]):
            worst = min(range(len(row.pairs.mean)), key=lambda q: float(row.pairs.mean[q]))
            pair = (row.pairs.source[worst], row.pairs.target[worst])
            of = int((row.pairs.seeds > 1).sum())
            said += [*(["; "] if i else []), ["row", k], f" hurts in {row.cells['hurts'].text} of {of} pairs (worst: ",
                     ["pair", at[pair]], ")"]  # fmt: skip
        more = len(in_pairs) - LISTED
        out.append(["hurt", [*said, f"; and {more} more methods hurt somewhere." if more > 0 else "."]])
    elif any(r.cells["hurts"].value == 0 for _, r in judged):
        out.append(["calm", ["No method hurts in any pair beyond chance."]])
    return out


def _sure(group: Group, judged: Sequence[tuple[int, Row]]) -> Sentence:
    """How far to trust it: pairs, seeds, holes."""
    if not judged:
        return ["Nothing can be compared yet: no method and its reference have a result for the same target and seed."]
    seeds = sorted({int(n) for _, r in judged for n in r.pairs.seeds})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    pairs = group.pairs_compared
    sources, targets = len(group.sources), len(group.targets)
    axes = f"{sources} {_s(sources, 'source')} and {targets} {_s(targets, 'target')}"
    said = f"{pairs} {_s(pairs, 'pair')} of {axes}, {many} {_s(seeds[-1], 'seed')} each."
    if seeds[-1] < 2:
        said += " Without repeated seeds there are no intervals: take every difference for a hint."
    elif min(len(group.sources) or pairs, len(group.targets)) < FEW:
        said += " So few sources and targets say little about others."
    if group.disjoint:
        said += " The rows share no pair and seed, so they are NOT comparable."
    elif pairs < group.pairs_planned:
        said += f" {group.pairs_planned - pairs} planned {_s(group.pairs_planned - pairs, 'pair')} are not compared."
    return [said]


def _s(count: int, one: str, many: str = "") -> str:
    return one if count == 1 else many or f"{one}s"


def _by_target(board: Leaderboard, group: Group) -> list[list[Any]]:
    """For each target the compared pair with the highest mean gain: target, row, pair, gain, low, high, verdict."""
    at, scale = places(group), 100.0 if board.points else 1.0
    best: dict[str, tuple[float, list[Any]]] = {}
    for k, row in enumerate(group.rows):
        if not _fair(row):
            continue
        p = row.pairs
        for q in range(len(p.target)):
            gain = float(p.mean[q])
            if row.compared[q] and (p.target[q] not in best or gain > best[p.target[q]][0]):
                numbers = [round(scale * float(v), 4) for v in (gain, p.low[q], p.high[q])]
                verdict = p.verdict[q] if p.seeds[q] > 1 else "unknown"
                best[p.target[q]] = (
                    gain,
                    [group.targets.index(p.target[q]), k, at[p.source[q], p.target[q]], *numbers, verdict],
                )
    return [best[t][1] for t in group.targets if t in best]


def plain(group: Group, sentence: Iterable[Any]) -> str:
    """A sentence without its links, for a reader without scripts."""
    pairs = list(places(group))
    out = []
    for part in sentence:
        if isinstance(part, str):
            out.append(part)
        elif part[0] == "row":
            out.append(name(group.rows[part[1]].label))
        else:
            source, target = pairs[part[1]]
            out.append(name(f"{source} → {target}" if source else target))
    return "".join(out)
