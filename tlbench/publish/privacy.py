"""Privacy: what of a record leaves this machine.

A record says on which host it was made, and reasons and notes may name folders of this machine. Neither says anything
of the result, so both are left out of what is published: the host's name becomes empty, and a path keeps its last part
alone (``…/train.npz``). Nothing else is changed, and the line gets a new checksum. What makes the trial's key is never
changed, or the key would not be its own any more: a path in there is an error, which only the user can decide about.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlbench.api.records import Record

_PATH = re.compile(
    r"""(?<![\w:/.…])                       # not inside an address, a fraction or a relative path
    (?:file://)?(?:/|~/|[A-Za-z]:[\\/])     # the root, the home or a drive
    (?:[^\s/\\"'<>|:;,()\[\]{}]+[\\/])+     # folders
    (?P<last>[^\s/\\"'<>|:;,()\[\]{}]*)""",
    re.VERBOSE,
)
_MOST_DEPTH = 32


class Kept(NamedTuple):
    """What is published although it tells of this machine."""

    hosts: bool = False
    paths: bool = False


NOTHING = Kept()


def public(record: Record, kept: Kept = NOTHING) -> Record:
    """The record as it is published: without the name of the host, and with paths shortened outside the trial."""
    data = {name: value for name, value in vars(record).items() if name not in {"key", "status", "trial"}}
    if not kept.hosts and record.environment.get("host"):
        data["environment"] = {**data["environment"], "host": ""}
    return replace(record, **(data if kept.paths else {name: shortened(value) for name, value in data.items()}))


def shortened(value: Any) -> Any:
    """Plain data with every absolute path in its texts cut down to its last part."""
    if isinstance(value, str):
        return _PATH.sub(lambda found: f"…/{found['last']}", value)
    if isinstance(value, dict):
        return {shortened(name): shortened(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(one) for one in value]
    return value


def paths_in(trial: Mapping[str, Any]) -> Iterator[str]:
    """The absolute paths in what makes a trial's key, as they stand there."""
    yield from _paths(trial, _MOST_DEPTH)


def _paths(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith(("/", "~/")) and len(value) > 1:
            yield value
        else:
            yield from (found[0] for found in _PATH.finditer(value))
    elif isinstance(value, dict) and depth:
        for name, one in value.items():
            yield from _paths(name, depth - 1)
            yield from _paths(one, depth - 1)
    elif isinstance(value, list | tuple) and depth:
        for one in value:
            yield from _paths(one, depth - 1)
