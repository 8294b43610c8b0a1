"""Done: which trials of a plan need not run again, judged by the records that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlbench.api.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial

FAILED = frozenset({Status.FAILED, Status.OOM, Status.TIMEOUT, Status.KILLED, Status.PARENT_FAILED})
_UNLUCKY = frozenset({Status.FAILED, Status.OOM, Status.TIMEOUT})
"""Ends that the same trial would come to again, unless something outside of it was the cause."""


def done_keys(
    trials: Sequence[Trial],
    records: Mapping[str, Record],
    metrics: Sequence[str],
    *,
    retry_failed: bool = False,
    has_artifact: Callable[[str], bool] | None = None,
    has_predictions: Callable[[str], bool] | None = None,
) -> frozenset[str]:
    """The keys of the trials that will not run again.

    A record counts where its trial has the same fingerprint and skip. Killed and interrupted trials, and those whose
    parent failed, run again. A source model runs again where its weights are gone and somebody still starts from
    them; and none runs of which nobody is left to start. With ``has_predictions``, a trial with a result runs again
    where its predictions are not stored.
    """
    done: set[str] = set()
    models: list[Trial] = []
    needed: set[str] = set()
    for trial in trials:
        if trial.kind == "source-model":
            models.append(trial)
        elif _is_done(record := records.get(trial.key), trial, metrics, retry_failed) and (
            has_predictions is None or record is None or record.status is not Status.OK or has_predictions(trial.key)
        ):
            done.add(trial.key)
        else:
            needed.update(trial.parents)
    for model in models:
        if model.key not in needed:
            done.add(model.key)
            continue
        record = records.get(model.key)
        if _is_done(record, model, (), retry_failed) and _has_weights(record, model.key, has_artifact):
            done.add(model.key)
    return frozenset(done)


def _is_done(record: Record | None, trial: Trial, metrics: Sequence[str], retry_failed: bool) -> bool:
    if record is None or record.trial.get("fingerprint") != trial.fingerprint:
        return False
    if record.trial.get("skip") != trial.skip:
        return False
    if record.status is Status.OK:
        scores = record.metrics.values()
        # metrics that do not apply, as was found out when the trial ran, and those that are no scores
        beside = {*record.data.get("absent", {}), *record.data.get("similarity", {})}
        return not metrics or (bool(scores) and all({*pool, *beside}.issuperset(metrics) for pool in scores))
    if record.status is Status.SKIPPED:
        return True
    return record.status in _UNLUCKY and not retry_failed


def _has_weights(record: Record | None, key: str, has_artifact: Callable[[str], bool] | None) -> bool:
    """True as well for a source model that failed: it left no weights, and its end stands."""
    return has_artifact is None or record is None or record.status is not Status.OK or has_artifact(key)
