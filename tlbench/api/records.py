"""Records: what became of one trial. Plain data, stored as JSON, never pickled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD_VERSION = 1


class Status(StrEnum):
    """Everything that can become of a trial."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"
    OOM = "oom"
    TIMEOUT = "timeout"
    KILLED = "killed"
    PARENT_FAILED = "parent_failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Record:
    """What became of one trial.

    ``trial``       ``Trial.to_json()``: everything that made the key
    ``metrics``     scored pool -> metric -> value, on all test examples
    ``curve``       ``pool``, ``metric``, ``examples``, ``steps`` [P], ``scores`` [P], ``seconds`` [P] of
                    training, ``selected`` (the step that is the result); one point where nothing was trained
    ``losses``      ``steps`` [P] and for each named term its mean over the window that ends there
    ``clocks``      seconds: ``setup``, ``training``, ``evaluation``, ``total``
    ``throughput``  ``training`` and ``inference`` examples/s (``median``, ``q25``, ``q75``, ``windows``),
                    ``latency_ms`` at batch 1 (``p50``, ``p95``); ``None`` where not measured or not exclusive
    ``memory``      bytes: ``peak_rss`` of the worker, ``peak_allocated`` and ``peak_reserved`` of the device
    ``cost``        ``parameters``, ``trained_parameters``, ``steps``, ``forward_flops`` per example, ``energy_j``;
                    ``trained_by``: the trial that did the training, where it was shared; ``fused``: with how many
                    ``seeds`` in all, and for how many ``steps``, it was trained as one, and with ``source_`` before
                    them the source model that it starts from. The clocks then have its part
    ``data``        what was used: content hashes, pool sizes, licences, split notes; ``groups`` of the test
                    examples; ``similarity``: of each metric that compares backbones a value for each of the
                    ``blocks`` (or ``None``), on ``examples``; ``absent``: metrics that do not apply, and why
    ``seeds``       the seed of each axis
    ``environment`` versions, git state, device, host
    ``predictions`` where the test scores are stored: ``blake2b`` (digest size 16) and ``bytes`` of
                    ``predictions/KEY.npz``, and ``matching`` and ``harmonic`` of the problem; else ``None``
    ``provenance``  what was done to the record since: ``rescored`` and ``merged``; ``None`` where nothing was
    """

    key: str
    status: Status
    trial: Mapping[str, Any]
    suite: str = ""
    reason: str = ""
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curve: Mapping[str, Any] | None = None
    losses: Mapping[str, Any] | None = None
    clocks: Mapping[str, float] = field(default_factory=dict)
    throughput: Mapping[str, Any] | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    artifact: Mapping[str, Any] | None = None
    predictions: Mapping[str, Any] | None = None
    started: str = ""
    finished: str = ""
    resumed_from: int = 0
    provenance: Mapping[str, Any] | None = None
    version: int = RECORD_VERSION

    @property
    def scored(self) -> str | None:
        """The pool of ``metrics`` whose score is the result: the harmonic mean of several, the target, or the first."""
        return scored(self.metrics)

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for ``json.dumps``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """The inverse of ``to_json``. Raises ``ValueError`` where a field is missing, unknown or of a later version."""
        if data.get("version", 0) > RECORD_VERSION:
            raise ValueError(f"record of version {data['version']}; this tlbench reads up to {RECORD_VERSION}")
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"unknown fields: {', '.join(unknown)}")
        if missing := sorted({"key", "status", "trial"} - set(data)):
            raise ValueError(f"missing fields: {', '.join(missing)}")
        return cls(**{**data, "status": Status(data["status"])})


def scored(metrics: Mapping[str, Any]) -> str | None:
    """The pool of a record's metrics whose score is its result."""
    for name in ("harmonic", "target"):
        if name in metrics:
            return name
    return next(iter(metrics), None)
