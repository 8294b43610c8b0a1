"""Sameness: when two records of one trial say the same.

On the same code, versions and kind of CPU a trial gives the same bits, so scores and learning curves must be equal. On
others the same training rounds differently and parts ways; then scores must agree within

    3 sqrt(p (1 - p) / n), and at least 0.005,    p = (n (a + b) / 2 + 1) / (n + 2)

three binomial standard errors of a share ``p`` of ``n`` test examples (Laplace's rule of succession keeps ``p`` off 0
and 1), or three standard errors over episodes where there are episodes; scores outside of [0, 1] within 5 %.
Clocks, hosts, memory and times are no part of the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tlbench.api.records import Record, Status
from tlbench.execution.switches import DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterator

ERRORS = 3.0
LEAST = 0.005
RELATIVE = 0.05


class Difference(NamedTuple):
    """Two values of one field; ``allowed`` is how far apart they may be."""

    field: str
    ours: Any
    theirs: Any
    allowed: float = 0.0

    @property
    def text(self) -> str:
        allowed = f" ({self.allowed:.3g} is allowed)" if self.allowed else ""
        return f"{self.field}: {_shown(self.ours)} and {_shown(self.theirs)}{allowed}"


@dataclass(frozen=True)
class Comparison:
    """``equal``, ``close`` (different bits, within the tolerance) or ``different``, and in what.

    ``conditions`` names what differed in code, versions and device; where it is empty, equality was asked for.
    """

    outcome: Literal["equal", "close", "different"]
    differences: tuple[Difference, ...] = ()
    conditions: tuple[str, ...] = ()


def compare(ours: Record, theirs: Record, tolerance: float | None = None) -> Comparison:
    """Compare two records of one trial; ``tolerance`` is an absolute one to use for every score instead."""
    conditions = tuple(_conditions(ours, theirs))
    exact = not conditions and tolerance is None
    found = [*_protocol(ours, theirs), *_scores(ours, theirs, exact, tolerance)]
    wrong = tuple(d for d in found if not _within(d))
    if wrong:
        return Comparison("different", wrong, conditions)
    return Comparison("close" if found else "equal", tuple(found), conditions)


def _conditions(ours: Record, theirs: Record) -> Iterator[str]:
    """What differs of that which the bits of a result depend on."""
    if ours.trial.get("fingerprint") != theirs.trial.get("fingerprint"):
        yield "code of the plugins"
    a, b = ours.environment, theirs.environment
    versions, others = (dict(_mapping(e.get("versions"))) for e in (a, b))
    for name in sorted({*versions, *others}):
        if versions.get(name) != others.get(name):
            yield f"{name} {versions.get(name)} and {others.get(name)}"
    git, its = (_mapping(e.get("git")) for e in (a, b))
    if git.get("commit") != its.get("commit") or git.get("dirty") or its.get("dirty"):
        yield "commit of tlbench"
    switched, theirs_switched = (_mapping(e.get("switches")) for e in (a, b))
    for name in DIGITS:
        if switched.get(name, False) != theirs_switched.get(name, False):
            yield f"{name} switched on for one of them"
    device, other = (_mapping(e.get("device")) for e in (a, b))
    for name in ("name", "threads"):
        if device.get(name) != other.get(name):
            yield f"{name if name == 'threads' else 'device'} {device.get(name)} and {other.get(name)}"
    if any("fused" in r.cost for r in (ours, theirs)):
        yield "seeds trained as one, whose sums are taken in another order"
    if any(str(d.get("device", "cpu")) != "cpu" for d in (device, other)):
        yield "a device other than a CPU, whose sums have no fixed order"


def _protocol(ours: Record, theirs: Record) -> Iterator[Difference]:
    """What must be equal whatever the machine: the end, the data and the points of the curve."""
    if ours.status != theirs.status:
        yield Difference("status", str(ours.status), str(theirs.status))
        return
    for role in ("target", "source"):
        a, b = (_mapping(r.data.get(role)).get("content") for r in (ours, theirs))
        if a != b:
            yield Difference(f"content of the {role}", a, b)
    for name in ("test", "pools"):
        if ours.data.get(name) != theirs.data.get(name):
            yield Difference(f"sizes of {name}", ours.data.get(name), theirs.data.get(name))
    for role in sorted({*ours.seeds} & {*theirs.seeds}):
        if ours.seeds[role] != theirs.seeds[role]:
            yield Difference(f"seed of {role}", ours.seeds[role], theirs.seeds[role])
    curve, other = ours.curve or {}, theirs.curve or {}
    for name in ("pool", "metric", "examples", "steps"):
        if curve.get(name) != other.get(name):
            yield Difference(f"{name} of the curve", curve.get(name), other.get(name))


def _scores(ours: Record, theirs: Record, exact: bool, tolerance: float | None) -> Iterator[Difference]:
    if ours.status is not Status.OK or theirs.status is not Status.OK:
        return
    for pool in sorted({*ours.metrics} | {*theirs.metrics}):
        a, b = ours.metrics.get(pool), theirs.metrics.get(pool)
        if a is None or b is None:
            yield Difference(f"scores on {pool}", a, b)
            continue
        for name in sorted({*a} & {*b}):  # one of them may have been rescored
            if a[name] != b[name]:
                allowed = 0.0 if exact else tolerance if tolerance is not None else allowance(ours, pool, name, b[name])
                yield Difference(f"{name} on {pool}", a[name], b[name], allowed)
    scores, others = ((r.curve or {}).get("scores") for r in (ours, theirs))
    if exact and scores != others:
        yield Difference("scores of the curve", scores, others)


def allowance(record: Record, pool: str, metric: str, other: float) -> float:
    """How far from a record's score another one of the same trial on another machine may be."""
    own = record.metrics[pool][metric]
    if not (0 <= own <= 1 and 0 <= other <= 1):
        return max(RELATIVE * max(abs(own), abs(other)), LEAST)
    episodes = _mapping(record.data.get("episodes"))
    half = _mapping(episodes.get("half_width")).get(metric)
    if isinstance(half, int | float):
        return max(ERRORS * half / 1.96, LEAST)
    n = examples(record, pool)
    if n < 1:
        return LEAST
    p = (n * (own + other) / 2 + 1) / (n + 2)
    return max(ERRORS * math.sqrt(p * (1 - p) / n), LEAST)


def examples(record: Record, pool: str) -> int:
    """Test examples of a pool; of the smallest where it is a mean of several; 0 where unknown."""
    tests = _mapping(record.data.get("test"))
    sizes = [tests[pool]] if pool in tests else list(tests.values())
    return min((n for n in sizes if isinstance(n, int) and not isinstance(n, bool)), default=0)


def _within(difference: Difference) -> bool:
    a, b = difference.ours, difference.theirs
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    return bool(numbers and difference.allowed and abs(a - b) <= difference.allowed)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
