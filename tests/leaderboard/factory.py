"""Records made by hand: a trial and its record from a few words, with everything else at a default."""

from __future__ import annotations

from typing import Any

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial


def choice(label: str, **params: Any) -> Choice:
    return Choice(label.split(" ")[0], label, params)


def trial(
    strategy: str,
    source: str | None,
    target: str,
    seed: int = 0,
    *,
    reference: str | None = "scratch",
    task: str = "fine-tuning 10",
    backbone: str = "small",
    selection: str = "last",
    recipe: str = "default",
    kind: Any = "trial",
    parents: tuple[str, ...] = (),
    skip: str | None = None,
) -> Trial:
    return Trial(
        source=choice(source) if source else None,
        target=choice(target),
        task=choice(task),
        strategy=choice(strategy),
        backbone=choice(backbone),
        recipe=Choice("recipe", recipe, {"selection": selection, "lr": 0.1 if recipe == "default" else 0.2}),
        seed=seed,
        kind=kind,
        parents=parents,
        reference=reference,
        skip=skip,
    )


def record(
    of: Trial,
    score: float | None = None,
    *,
    status: Status = Status.OK,
    reason: str = "",
    curve: tuple[list[int], list[float]] | None = None,
    device: Any = "cpu A",
    rate: float | None = 100.0,
    seconds: float = 10.0,
    memory: int = 1 << 30,
    examples: int = 1000,
    metric: str = "accuracy",
) -> Record:
    steps, scores = curve or ([0], [score])
    ok = status is Status.OK
    return Record(
        key=of.key,
        status=status,
        trial=of.to_json(),
        reason=reason,
        metrics={"target": {metric: score}} if ok and score is not None else {},
        curve={"pool": "target", "metric": metric, "examples": examples, "steps": steps, "scores": scores}
        if ok
        else None,
        clocks={"setup": 0.1, "training": seconds - 0.3, "evaluation": 0.2, "total": seconds},
        throughput={"training": {"median": rate}, "inference": {"median": 2 * rate}} if ok and rate else None,
        memory={"peak_rss": memory},
        environment={"device": device},
    )


def reference(target: str, seed: int, score: float, **more: Any) -> Record:
    """The record of ``scratch``: one for each target and seed, shared by all sources."""
    axes = {k: more.pop(k) for k in ("task", "backbone", "selection", "recipe") if k in more}
    return record(trial("scratch", None, target, seed, reference=None, **axes), score, **more)


def small_board() -> list[Record]:
    """Two sources, two targets, three seeds: ``good`` gains everywhere, ``mixed`` helps once and hurts once."""
    records = []
    scratch = {"c": [0.50, 0.52, 0.48], "d": [0.60, 0.61, 0.62]}
    good = {
        ("a", "c"): [0.10, 0.11, 0.09],
        ("a", "d"): [0.08, 0.09, 0.10],
        ("b", "c"): [0.12, 0.10, 0.11],
        ("b", "d"): [0.09] * 3,
    }
    mixed = {
        ("a", "c"): [0.05, 0.06, 0.07],
        ("a", "d"): [0.0, 0.0, 0.0],
        ("b", "c"): [-0.20, -0.21, -0.19],
        ("b", "d"): [0.10, -0.10, 0.03],
    }
    steps = [0, 25, 50, 75, 100]
    for target, scores in scratch.items():
        for seed, score in enumerate(scores):
            records.append(reference(target, seed, score, curve=(steps, [0.1, 0.2, 0.3, 0.4, score]), seconds=20.0))
    for name, gains in (("good", good), ("mixed", mixed)):
        for (source, target), values in gains.items():
            for seed, gain in enumerate(values):
                final = scratch[target][seed] + gain
                curve = (steps, [0.3, 0.4, max(final, 0.1), final, final])
                records.append(record(trial(name, source, target, seed), final, curve=curve))
    return records
