"""What can go wrong that a user can mend; shown without a traceback. Anything else is a bug.

TlbenchError
├── SuiteError        a suite is wrong: every problem with file, line and column
├── PluginError       a plugin, or what was asked of one, is wrong
├── DataError         data is missing, unreadable or too large
├── StoreError        a run folder cannot be read or written
└── TrialError        a trial cannot give a result
    ├── SkipTrial     it does not apply here; recorded as skipped, not as failed
    ├── Diverged      the loss is no longer finite
    └── BudgetError   a strategy asked for more steps than the recipe has
"""

from __future__ import annotations

import difflib
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class TlbenchError(Exception):
    """Something that the user can mend."""


class SuiteError(TlbenchError):
    """A suite is wrong. ``problems`` has one line for each problem, in the order of the file."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PluginError(TlbenchError):
    """A plugin, or what was asked of one, is wrong."""


class DataError(TlbenchError):
    """Data is missing, unreadable or too large."""


class StoreError(TlbenchError):
    """A run folder cannot be read or written."""


class TrialError(TlbenchError):
    """A trial cannot give a result."""


class SkipTrial(TrialError):
    """The trial does not apply here: recorded as skipped with this reason."""


class Diverged(TrialError):
    """The loss is no longer finite."""


class BudgetError(TrialError):
    """A strategy asked for more steps than the recipe has."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException | None) -> bool:
    """Whether this, or what it comes from, is how a system says that a disk takes no more."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        # safetensors has errors of its own, which name the system's in their text
        if number in _FULL or any(f"(os error {code})" in str(error) for code in _FULL):
            return True
        error = error.__cause__
    return False


MOST_NAMES = 24


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """``unknown strategy 'dan'. Did you mean 'dann'? Known: ...``; of many names, those that come nearest."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    if len(names) <= MOST_NAMES:
        return f"unknown {kind} {name!r}.{guess} Known: {', '.join(names) or '(none)'}."
    near = difflib.get_close_matches(str(name), names, n=MOST_NAMES // 2, cutoff=0.4) or names[:MOST_NAMES]
    return f"unknown {kind} {name!r}.{guess} {len(names)} are known, among them {', '.join(near)}."
