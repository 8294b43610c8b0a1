"""Trials and plans: what is to be done, with a key for each piece of work.

A key is a hash of everything that can change a trial's result and of nothing else: not the device,
the executor, the number of workers or the folder of the data. It can be computed from the plan and from
the stored record alike, and its algorithm has a version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VERSION = 1


def canonical(value: Any) -> str:
    """One text for one value: JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class Choice:
    """One plugin with its parameters, all defaults filled in. ``label`` is its name on the board.

    ``version`` tells results of different code apart where runs are merged; empty everywhere else.
    """

    name: str
    label: str
    params: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    @cached_property
    def digest(self) -> str:
        """Hash of name, parameters and version; the label is only a name and does not count."""
        text = canonical([self.name, dict(self.params), *([self.version] if self.version else [])])
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"name": self.name, "label": self.label, "params": dict(self.params)}
        return {**plain, "version": self.version} if self.version else plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Choice:
        return cls(data["name"], data["label"], dict(data["params"]), data.get("version", ""))


PRETRAINED = "pretrained"
"""The source of a trial whose source is the backbone's own weights and no data set."""


@dataclass(frozen=True)
class Trial:
    """One piece of work. ``source`` is ``None`` where the strategy does not depend on a source.

    A ``source-model`` trial trains a backbone on its source once for all the trials that start from it;
    its weights are kept under its key. A ``ranking`` puts transferability scores into its record.
    Parents count in the key: they say how the source was trained.
    """

    source: Choice | None
    target: Choice
    task: Choice
    strategy: Choice
    backbone: Choice
    recipe: Choice
    seed: int
    kind: Literal["trial", "source-model", "ranking"] = "trial"
    parents: tuple[str, ...] = ()
    reference: str | None = None
    """The strategy that this trial's gain is measured against; ``None`` for a reference itself."""
    skip: str | None = None
    """Why this trial cannot run, where it cannot."""
    fingerprint: str = ""
    """Hash of the code of the plugins involved; says whether a stored record is still current."""

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits."""
        parts = (
            str(KEY_VERSION),
            self.source.digest if self.source else "-",
            self.target.digest,
            self.task.digest,
            self.strategy.digest,
            self.backbone.digest,
            self.recipe.digest,
            str(self.seed),
            *self.parents,
        )
        return hashlib.blake2b("/".join(parts).encode(), digest_size=16).hexdigest()

    @property
    def title(self) -> str:
        """A line for people."""
        source = f"{self.source.label} → " if self.source else ""
        name = "source training" if self.kind == "source-model" else self.strategy.label
        return f"{name} · {source}{self.target.label} · {self.task.label} · {self.backbone.label} · seed {self.seed}"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "source": self.source.to_json() if self.source else None,
            "target": self.target.to_json(),
            "task": self.task.to_json(),
            "strategy": self.strategy.to_json(),
            "backbone": self.backbone.to_json(),
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "parents": list(self.parents),
            "reference": self.reference,
            "skip": self.skip,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """The inverse of ``to_json``; also takes ``Record.trial``. Raises ``KeyError`` or ``TypeError``."""
        choices = {k: Choice.from_json(data[k]) for k in ("target", "task", "strategy", "backbone", "recipe")}
        return cls(
            source=Choice.from_json(data["source"]) if data["source"] else None,
            **choices,
            seed=int(data["seed"]),
            kind=data["kind"],
            parents=tuple(data["parents"]),
            reference=data["reference"],
            skip=data["skip"],
            fingerprint=data["fingerprint"],
        )


@dataclass(frozen=True)
class Plan:
    """Trials in an order in which parents come before those that start from them."""

    suite: str
    trials: tuple[Trial, ...]
    done: frozenset[str] = frozenset()
    """Keys that have a current record already and will not run again."""
    metrics: tuple[str, ...] = ("accuracy",)
    """The first is the score that gains and selection use."""

    @property
    def todo(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if t.key not in self.done)
