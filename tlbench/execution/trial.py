"""One trial: from a line of the plan to a record, whatever happens.

The order of things is the fairness of the whole: pools are built, the test side is dropped, the strategy
fits, and only then is the test side built again (it is a pure function of data and seed) and scored.
"""

from __future__ import annotations

import random
import shutil
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tlbench.api.data import Domain, Pool, Problem, Seeds
from tlbench.api.recipe import Recipe
from tlbench.api.records import Record, Status
from tlbench.api.trials import PRETRAINED, Trial
from tlbench.api.types import Adaptable, Start
from tlbench.data.inputs import scaling
from tlbench.data.pools import difference
from tlbench.errors import SkipTrial, TlbenchError, TrialError, is_full
from tlbench.evaluation.judging import needs_group
from tlbench.evaluation.predict import Conditions, curve_rows
from tlbench.execution.clock import Clocks, now, peaks, reset_peaks
from tlbench.execution.desk import Desk, predictors_of, refit
from tlbench.execution.environment import environment
from tlbench.execution.episodes import EpisodeScorer, about_episodes
from tlbench.execution.reasons import first_line, is_out_of_memory, where
from tlbench.execution.score import PoolScorer, evaluate
from tlbench.execution.sharing import Lasting, shared
from tlbench.execution.similarity import similarity
from tlbench.execution.switches import Switches
from tlbench.models.factory import ModelFactory
from tlbench.models.layout import channels_last
from tlbench.training.checkpoint import Checkpoints, Interrupted
from tlbench.training.context import Extras
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tlbench.api.types import Metric
    from tlbench.execution.bench import Bench


def run_trial(trial: Trial, bench: Bench) -> Record:
    """Do one trial. Never raises for what the trial does; the record's status and reason say it."""
    clocks, started = Clocks(bench.clock), now()
    found: dict[str, Any] = {}
    status, reason = Status.OK, ""
    _clean_slate()
    reset_peaks(bench.device)
    try:
        with bench.at_home():
            _attempt(trial, bench, clocks, found)
    except SkipTrial as error:
        status, reason = Status.SKIPPED, str(error)
    except Interrupted:
        status, reason = Status.INTERRUPTED, "stopped on request; the same command goes on from here"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and bench.stop():
            raise  # the user's second Ctrl-C; without a first, it is the plugin's own doing
        if is_full(error):  # no fault of the trial's: the same command is to try it again
            status, reason = Status.INTERRUPTED, f"{first_line(error)}. Make room and run the same command again."
        elif isinstance(error, TlbenchError):
            status, reason = Status.FAILED, str(error)
        else:
            traceback.print_exc()
            status, reason = Status.FAILED, f"{type(error).__name__}: {first_line(error)}{where(error)}"
        if is_out_of_memory(error):
            status, reason = Status.OOM, f"out of memory: {first_line(error)}{where(error)}"
    while bench.cache.warnings:
        print(bench.cache.warnings.pop(0))  # into the trial's log
    if status not in (Status.INTERRUPTED, Status.TIMEOUT):
        shutil.rmtree(bench.run.work(trial.key), ignore_errors=True)
    if status != Status.OK:
        found = {k: v for k, v in found.items() if k in ("data", "seeds", "resumed_from")}
    return Record(
        key=trial.key,
        status=status,
        trial=trial.to_json(),
        suite=str(bench.spec["suite"]),
        reason=reason,
        clocks={**clocks.seconds, "total": clocks.total()},
        memory=_larger(peaks(bench.device), found.pop("memory", {})),
        environment=environment(
            str(bench.device),
            int(bench.spec["threads"]),
            shared=bool(bench.spec["shared"]),
            switches=bench.switches.unusual(),
        ),
        started=started,
        finished=now(),
        **found,
    )


@dataclass(frozen=True)
class _Parts:
    """The plugins of one trial, with their parameters."""

    task: Any
    strategy: Any
    backbone: Any
    recipe: Recipe
    start: Start


def _parts(trial: Trial, bench: Bench) -> _Parts:
    task = bench.plugins.instantiate("tasks", trial.task)
    strategy = bench.plugins.instantiate("strategies", trial.strategy)
    backbone = bench.plugins.instantiate("backbones", trial.backbone)
    start: Start = getattr(strategy, "start", None) or task.start
    if start == "source" and trial.source is not None and trial.source.name == PRETRAINED:
        start = "weights"
    recipe = Recipe(**trial.recipe.params)
    return _Parts(task, strategy, backbone, recipe, start)


def _attempt(trial: Trial, bench: Bench, clocks: Clocks, found: dict[str, Any]) -> None:
    seeds = Seeds(trial.seed)
    with clocks.measure("setup"):
        parts = _parts(trial, bench)
        target = bench.describe(trial.target)
        weights, about = bench.load_weights(trial.parents[0]) if parts.start == "source" else (None, None)
        if about is not None:
            _check_spaces(about["shape"], target.domain, "weights trained on one do not fit the other")
        identity = trial.backbone.digest
        models = ModelFactory(parts.backbone, identity, target.domain.shape, seeds, bench.device, weights)
        if bench.switches.channels_last:
            models.layout = channels_last
        problem = _problem(trial, bench, parts, models)
        episodes = problem.episodes
        metrics = _metrics(trial, bench, problem)
        refits = episodes is not None and "episodes" not in parts.strategy.needs
        if "same_classes" in parts.strategy.needs:
            _check_classes(trial, bench)
        given = _given(trial, parts, problem, refits)
        sizes = {name: len(pool) for name, pool in problem.train.items()}
        found["data"] = _about_data(trial, bench, sizes, about)
        found["seeds"] = {"suite": trial.seed, **{axis: seeds.integer(axis, identity) for axis in ("init", "head")}}
        found["seeds"] |= {axis: seeds.integer(axis, trial.target.digest) for axis in ("subset", "curve")}
        desk = Desk(
            parts.strategy,
            models,
            parts.recipe,
            parts.start,
            problem.num_classes,
            _extras(parts.strategy, problem, found["data"].get("source", {}).get("classes")),
            bench,
            Conditions(bench.device, parts.recipe.precision, scaling(models.transform, bench.device)),
        )
        del problem  # and with it the test side
        _seed_everything(seeds, trial)
        folder = bench.run.work(trial.key) / trial.fingerprint[:12]
        tape = Tape(folder)
        common = None if refits else shared(trial, desk, given, folder)
        checkpoints = (Checkpoints if common is None else Lasting)(folder, float(bench.spec["checkpoint_seconds"]))
    if refits:
        again = partial(_problem, trial, bench, parts, models)
        keep = partial(bench.save_predictions, trial)
        more, said = refit(desk, given, again, clocks, partial(_seed_everything, seeds, trial), keep)
        found["data"] |= said
        found |= more
        _say_fused(found, {}, about)
        return
    with clocks.measure("setup"):
        ctx = desk.context(given, tape, checkpoints, bench.meet)
    with nullcontext() if common is None else common.once(bench.stop), clocks.measure("training"):
        fitted = parts.strategy.fit(ctx)
        tape.close()
    # a resumed trial counts what came before, and one that shares a training what that took
    clocks.seconds["training"] = max(clocks.seconds["training"], tape.seconds)
    found["resumed_from"] = checkpoints.resumed_from
    taken = common is not None and common.by is not None and checkpoints.resumed_from > 0
    if common is not None and taken:
        found["resumed_from"], found["memory"] = 0, common.memory
    if ctx.session.reported:
        found["data"]["reported"] = dict(ctx.session.reported)
    scored, said_of_test = _scored(
        trial, bench, parts, models, desk.conditions, fitted, tape, ctx.budget, clocks, metrics
    )
    found |= scored
    found["data"] |= said_of_test
    found["cost"] |= _sizes(fitted, tape)
    _say_fused(found, tape.fused, about)
    if common is not None and taken:
        found["cost"]["trained_by"] = common.by
    if trial.kind == "source-model":
        said = {
            "shape": list(target.domain.shape.dims),
            "classes": list(target.domain.label_names),
            "data": target.content,
            "fused": tape.fused,
        }
        found["artifact"] = bench.save_weights(trial, fitted, said)


def _scored(
    trial: Trial,
    bench: Bench,
    parts: _Parts,
    models: ModelFactory,
    conditions: Conditions,
    fitted: Any,
    tape: Tape,
    budget: int,
    clocks: Clocks,
    metrics: Mapping[str, Metric],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the test side again and score on it: parts of the record, and what to say of the data.

    In a function of its own: a strategy can hold the frames that it was called from, and none of those ever has a test
    example.
    """
    with clocks.measure("evaluation"):
        problem = _problem(trial, bench, parts, models)
        together = Switches.of(bench.spec).episodes
        scorer = _scorer(fitted, problem, metrics, conditions, parts.recipe, trial, together)
        scored = evaluate(scorer, tape, recipe=parts.recipe, budget=budget, exclusive=not bench.spec["shared"])
    scored["predictions"] = bench.save_predictions(trial, scorer.predictions)
    said: dict[str, Any] = {"test": {name: len(pool) for name, pool in problem.test.items()}}
    if problem.episodes is not None:
        said["episodes"] = about_episodes(problem.episodes, scorer.scored, refitted=False)
    about = scorer.predictions.said(metrics.values())
    compared = _compared(fitted, problem, scorer.main, bench, models, conditions)
    if absent := about.pop("absent", {}) | compared.pop("absent", {}):
        said["absent"] = absent
    return scored, said | about | compared


def _compared(
    fitted: Any, problem: Problem, main: str, bench: Bench, models: ModelFactory, conditions: Conditions
) -> dict[str, Any]:
    """What transfer did to the backbone, where the suite asks for it."""
    if problem.episodes is not None:
        return {"absent": dict.fromkeys(bench.comparisons, "the backbone is adapted to each episode")}
    return similarity(bench.comparisons, fitted, models, problem.test[main], conditions)


def _problem(trial: Trial, bench: Bench, parts: _Parts, models: ModelFactory) -> Problem:
    """Build the trial's problem; the same at each call."""
    transform = models.transform
    target = bench.domain(trial.target, transform)
    source = None
    wants = parts.strategy.needs | getattr(parts.strategy, "uses", frozenset())
    always = parts.task.needs_source or getattr(parts.task, "sees_source", False)
    wants_source = any(name.startswith("source") for name in wants)
    if (always or wants_source) and trial.source is not None and trial.source.name != PRETRAINED:
        source = bench.domain(trial.source, transform)
        if wants_source and getattr(parts.strategy, "spaces", "same") != "any":
            _check_spaces(source.shape.dims, target, f"which {trial.strategy.label} does not handle")
    problem: Problem = parts.task.build(source, target, Seeds(trial.seed), parts.recipe.selection)
    return problem


def _metrics(trial: Trial, bench: Bench, problem: Problem) -> Mapping[str, Metric]:
    """The suite's metrics, of which the first must apply; a source model makes do with those that do."""
    first = next(iter(bench.metrics.values()))
    main = problem.test["target" if "target" in problem.test else next(iter(problem.test))]
    scored = [main] if problem.validation is None else [main, problem.validation]
    if not needs_group(first) or (problem.episodes is None and all(pool.group is not None for pool in scored)):
        return bench.metrics
    if trial.kind == "trial":
        whose = "episodes are" if problem.episodes is not None else "the examples that are scored, or that choose, are"
        raise SkipTrial(f"{first.name} is the suite's first metric and needs groups of examples; {whose} in none")
    rest = {name: metric for name, metric in bench.metrics.items() if not needs_group(metric)}
    return rest or {"accuracy": bench.plugins.build("metrics", "accuracy", {})}


def _check_spaces(source: Sequence[int], target: Domain, so: str) -> None:
    """Skip where examples differ in more than the size of an image, which a backbone's transform brings to one."""
    dims = target.shape.dims
    same = len(source) == len(dims) if target.kind == "image" else list(source) == list(dims)
    if not same:
        raise SkipTrial(f"source and target have different feature spaces, {tuple(source)} and {dims}; {so}")


def _extras(strategy: Any, problem: Problem, source_classes: int | None) -> Extras:
    """What the strategy may see beside pools; only what it declared."""
    needs = strategy.needs
    return Extras(
        attributes=problem.class_attributes if "class_attributes" in needs else {},
        graphs=problem.graphs if "graphs" in needs else {},
        episode=problem.episodes.shape if problem.episodes is not None else None,
        source_classes=source_classes,
    )


def _check_classes(trial: Trial, bench: Bench) -> None:
    """Raise ``SkipTrial`` where source and target have other classes, by name and in one order."""
    needs = f"{trial.strategy.label} needs the same classes in source and target"
    if trial.source is None or trial.source.name == PRETRAINED:
        raise SkipTrial(f"{needs}; here is no source data set")
    source, target = bench.describe(trial.source).domain, bench.describe(trial.target).domain
    if source.label_names != target.label_names:
        raise SkipTrial(f"{needs}: {difference(source, target)}")


def _given(trial: Trial, parts: _Parts, problem: Problem, refits: bool) -> dict[str, Pool]:
    """The pools that the strategy declared and may see; no others. Where it is refitted, ``target`` comes later."""
    at_hand = dict(problem.train)
    if trial.strategy.name in parts.task.references:
        at_hand |= problem.withheld
    needs = parts.strategy.needs
    extras = {
        "episodes": problem.episodes,
        "class_attributes": problem.class_attributes,
        "graphs": problem.graphs,
    }
    offered = {*at_hand, *(name for name, kept in extras.items() if kept), *(["target"] if refits else [])}
    if missing := sorted(needs - offered - {"same_classes"}):  # checked before
        raise SkipTrial(
            f"{trial.strategy.label} needs {', '.join(missing)}; "
            f"the task {trial.task.label} offers {', '.join(sorted(offered)) or 'nothing'}"
        )
    wanted = needs | getattr(parts.strategy, "uses", frozenset())
    return {name: _without_group(pool) for name, pool in at_hand.items() if name in wanted}


def _without_group(pool: Pool) -> Pool:
    return pool if pool.group is None else replace(pool, group=None)


def _scorer(
    fitted: Any,
    problem: Problem,
    metrics: Mapping[str, Metric],
    conditions: Conditions,
    recipe: Recipe,
    trial: Trial,
    together: bool,
) -> Any:
    """What scores the fitted strategy: on pools, or on episodes, many of them at once where ``together``."""
    if problem.episodes is not None:
        if not isinstance(fitted, Adaptable):
            raise TrialError(
                f"fit() returned a {type(fitted).__name__}; a strategy that needs episodes returns something to adapt"
            )
        return EpisodeScorer(problem, fitted, metrics, conditions, together)
    predictors = predictors_of(fitted, problem)
    main = problem.test["target" if "target" in problem.test else next(iter(problem.test))]
    rng = Seeds(trial.seed).generator("curve", trial.target.digest)
    rows = curve_rows(len(main), recipe.curve_examples, rng)
    return PoolScorer(problem, predictors, metrics, conditions, rows)


def _sizes(fitted: Any, tape: Tape) -> dict[str, Any]:
    """Numbers of parameters: of the predictor, where it is a module, and of what was trained."""
    trained = tape.snapshots[-1].load() if tape.snapshots else {}
    names = {name for name, t in tape.live() if isinstance(t, nn.Parameter)}
    whole = sum(p.numel() for p in fitted.parameters()) if isinstance(fitted, nn.Module) else None
    return {"parameters": whole, "trained_parameters": sum(t.numel() for n, t in trained.items() if n in names)}


def _say_fused(found: dict[str, Any], fused: Mapping[str, int], source: Mapping[str, Any] | None) -> None:
    """Where seeds were trained as one: in this trial, or in the source model that it starts from."""
    said = {**fused, **{f"source_{name}": n for name, n in ((source or {}).get("fused") or {}).items()}}
    if said:
        found["cost"]["fused"] = said


def _larger(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Of each peak the larger; that of a training that another trial did counts too."""
    return {
        name: max((v for v in (value, other.get(name)) if v is not None), default=None) for name, value in ours.items()
    }


def _about_data(
    trial: Trial, bench: Bench, sizes: Mapping[str, int], about: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What was used: content hashes, licences, how splits were made, and how many examples each pool had."""
    said: dict[str, Any] = {"pools": dict(sizes)}
    for role, choice in (("target", trial.target), ("source", trial.source)):
        if choice is None or choice.name == PRETRAINED:
            continue
        if role == "source" and about is not None:
            said[role] = {"content": about["data"], "classes": len(about["classes"])}
            continue
        loaded = bench.describe(choice)
        said[role] = {
            "content": loaded.content,
            "classes": loaded.domain.num_classes,
            "source": loaded.domain.source,
            "licence": loaded.domain.licence,
            "notes": loaded.domain.notes,
        }
    backbone = bench.plugins.instantiate("backbones", trial.backbone)
    said["pretrained_on"] = backbone.pretrained_on
    return said


def _clean_slate() -> None:
    """Undo what an earlier trial of this process may have left in torch's and NumPy's global settings."""
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")


def _seed_everything(seeds: Seeds, trial: Trial) -> None:
    """For what draws from the common generators (dropout, say): the same for all strategies of a pair and seed."""
    seed = seeds.integer("fit", trial.target.digest, trial.backbone.digest)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def ended(trial: Trial, status: Status, reason: str, spec: Mapping[str, Any], started: str = "") -> Record:
    """The record of a trial that could not make one itself."""
    device = environment(str(spec["device"]), int(spec["threads"]), shared=bool(spec["shared"]))
    return Record(
        trial.key,
        status,
        trial.to_json(),
        str(spec["suite"]),
        reason,
        environment=device,
        started=started or now(),
        finished=now(),
    )
