"""The matrices: their suites, their runs as jobs for the other sides, and both measured in processor and wall time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from work import Job

from tlbench.api.data import Seeds
from tlbench.plugins import Plugins
from tlbench.results.store import RunFolder
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).resolve().parent
SHIFTS = ("none", "inverted", "rotated", "noisy")
LABELS, WIDTH = 20, 16
STEPS, SOURCE_STEPS = 105, 210
"""Five epochs and ten of the digits' 1,347 training images in batches of 64."""

HEAD = """
tlbench: 1
name: {name}
sources: {domains}
targets: {domains}
tasks: {tasks}
backbones: [{{name: small-cnn, size: 16, channels: 1, width: {width}}}]
strategies: {strategies}
seeds: {seeds}
recipe: {{steps: {steps}, curve_points: {points}}}
source_recipe: {{steps: {source_steps}}}
metrics: [accuracy]
exclude: {exclude}
timeout: 3600
"""
DIGITS = "[" + ", ".join("digits" if s == "none" else f"{{name: digits, shift: {s}}}" for s in SHIFTS) + "]"
TARGETS = (
    "[{name: digits, shift: inverted}, {name: digits, shift: rotated}, {name: digits, shift: noisy}, "
    "{name: digits, shift: rotated, angle: -25}, {name: digits, shift: rotated, angle: 50}, "
    "{name: digits, shift: noisy, noise: 0.6}, {name: digits, shift: thick}, {name: digits, shift: permuted}]"
)
"""Eight targets of the probes."""
ADAPTATION = "deep-coral, dann, mcc"
TUNING = "fine-tune, {name: fine-tune, train: head, label: head}"


def reference_suite(seeds: Sequence[int], *, steps: int = STEPS, source_steps: int = SOURCE_STEPS) -> str:
    """Four domains, five strategies and their references, on two tasks."""
    return HEAD.format(
        name="reference",
        domains=DIGITS,
        tasks=f"[{{name: fine-tuning, labels: {LABELS}}}, adaptation]",
        width=WIDTH,
        strategies=f"[{TUNING}, {ADAPTATION}]",
        seeds=list(seeds),
        steps=steps,
        points=4,
        source_steps=source_steps,
        exclude="[{task: fine-tuning, strategy: [deep-coral, dann, mcc]}, "
        "{task: adaptation, strategy: [fine-tune, head]}]",
    )


def adaptation_suite(seeds: Sequence[int], passes: str = "separate") -> str:
    """The part of it that the libraries have: three strategies, source-only and target-oracle."""
    names = ADAPTATION.split(", ")
    return HEAD.format(
        name="adaptation",
        domains=DIGITS,
        tasks="[adaptation]",
        width=WIDTH,
        strategies="[" + ", ".join(f"{{name: {n}, passes: {passes}, label: {n}}}" for n in names) + "]",
        seeds=list(seeds),
        steps=STEPS,
        points=1,
        source_steps=SOURCE_STEPS,
        exclude="[]",
    )


def mnist_usps_suite(steps: int, seeds: Sequence[int], width: int, passes: str = "separate") -> str:
    """DANN alone on one pair of real data."""
    suite = adaptation_suite(seeds).split("\n")
    kept = [line for line in suite if not line.startswith(("sources", "targets", "strategies", "recipe", "backbones"))]
    return "\n".join(
        [
            *kept,
            "datasets:",
            "  mnist: {name: hub, id: ylecun/mnist}",
            "  usps: {name: hub, id: flwrlabs/usps}",
            "sources: [mnist]",
            "targets: [usps]",
            f"strategies: [{{name: dann, passes: {passes}, label: dann}}]",
            f"backbones: [{{name: small-cnn, size: 16, channels: 1, width: {width}}}]",
            f"recipe: {{steps: {steps}, curve_points: 1}}",
            "",
        ]
    )


def probe_suite(seeds: Sequence[int]) -> str:
    """A linear probe on eight targets from one source. References are asked for one step: they are not compared."""
    return HEAD.format(
        name="probes",
        domains="[digits]",
        tasks="[{name: fine-tuning}]",
        width=WIDTH,
        strategies="[linear-probe]",
        seeds=list(seeds),
        steps=1,
        points=1,
        source_steps=SOURCE_STEPS,
        exclude="[]",
    ).replace("targets: [digits]", f"targets: {TARGETS}")


def shallow_suite() -> str:
    """Subspace alignment and CORAL before a nearest neighbour, on pixels. Nothing is drawn: one seed."""
    suite = HEAD.format(
        name="shallow",
        domains=DIGITS,
        tasks="[adaptation]",
        width=WIDTH,
        strategies="[{name: source-classifier, classifier: 1-nn, label: source-classifier}, "
        "{name: subspace-alignment, label: subspace-alignment}, "
        "{name: coral, regularisation: ledoit-wolf, centre: true, classifier: 1-nn, label: coral}]",
        seeds=[0],
        steps=1,
        points=1,
        source_steps=1,
        exclude="[]",
    )
    return re.sub("backbones: .*", "backbones: [{name: identity, size: 8}]", suite)


def jobs(suite: str, data: Path | None = None) -> list[Job]:
    """Every run of the suite's plan but majority, which trains nothing, with tlbench's seeds."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "suite.yaml"
        path.write_text(suite)
        plugins = Plugins.discover()
        run = Run.of(
            str(path), plugins, Options(cache=Path(name), out=Path(name) / "out", device="cpu", data_root=data)
        )
        plan = run.plan({})
    sources = {t.seed: t.recipe.params["steps"] for t in plan.trials if t.kind == "source-model"}
    found = []
    for trial in plan.trials:
        if trial.kind != "trial" or trial.strategy.name == "majority":
            continue
        assert trial.skip is None, trial.skip
        seeds, net = Seeds(trial.seed), trial.backbone.digest
        target = shift_of(trial.target.to_json())
        chance = {pool: seeds.integer("order", pool) for pool in ("source", "target", "target_unlabelled")}
        chance |= {
            "init": seeds.integer("init", net),
            "head": seeds.integer("head", net, "10"),
            "fit": seeds.integer("fit", trial.target.digest, net),
            "subset": seeds.integer("subset", "digits" if target == "none" else f"digits-{target.partition(':')[0]}"),
        }
        found.append(
            Job(
                trial.strategy.label,
                shift_of(trial.source.to_json()) if trial.source else "",
                target,
                trial.seed,
                int(trial.recipe.params["steps"]),
                int(sources.get(trial.seed, 0)),
                LABELS,
                int(trial.backbone.params.get("width", 0)),
                chance,
                str(data or ""),
            )
        )
    return found


def shift_of(choice: Mapping[str, Any]) -> str:
    """A data set of a trial in the words of a job."""
    if choice["name"] == "hub":
        return "mnist" if "mnist" in choice["params"]["id"] else "usps"
    shift = str(choice["params"].get("shift", "none"))
    amount = {"rotated": ("angle", 25.0), "noisy": ("noise", 0.3)}.get(shift)
    if amount is None or choice["params"].get(*amount) == amount[1]:
        return shift
    return f"{shift}:{choice['params'][amount[0]]:g}"


class Side(NamedTuple):
    """Processor and wall seconds of a whole matrix, the score of each run, and what each said of itself."""

    processor: float
    wall: float
    scores: dict[tuple[str, str, str, int], float]
    said: list[dict[str, float]]


def cpu_seconds() -> float:
    """Processor time of the children of this process that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def call(command: list[str], folder: Path | None = None) -> str:
    """Output of a command with one thread. Raises ``RuntimeError`` with what it said where it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


def tlbench(
    suite: str, data: Path | None = None, *, times: int = 1, again: bool = False, options: Sequence[str] = ()
) -> list[Side]:
    """`tlbench run` with one worker on an empty cache; further times with new records on the cache that it left.

    ``options`` are added to the command. ``again`` runs over the last of these finished matrices once more: what is
    left is start, plan and leaderboard.
    """
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "suite.yaml").write_text(suite)
        for out in [*map(str, range(times)), *([str(times - 1)] if again else [])]:
            words = [
                "run",
                "--matrix",
                "suite.yaml",
                "--workers",
                "1",
                "--quiet",
                "--cache",
                "cache",
                "--out",
                out,
                *options,
            ]
            words += ["--data-root", str(data)] if data else []
            began = cpu_seconds(), time.perf_counter()
            call([sys.executable, "-m", "tlbench.cli", *words], folder)
            spent = cpu_seconds() - began[0], time.perf_counter() - began[1]
            found.append(Side(*spent, *_scores(folder / out)))
    return found


def _scores(folder: Path) -> tuple[dict[tuple[str, str, str, int], float], list[dict[str, float]]]:
    scores, said = {}, []
    for record in RunFolder.open(folder).records().values():
        trial = record.trial
        assert record.status == "ok", record.reason
        # a trial that took over the training of another says how long that took there
        own = {} if "trained_by" not in record.cost else {"training": 0.0}
        said.append({**record.clocks, **own, "source model": trial["kind"] == "source-model"})
        if trial["kind"] == "trial" and trial["strategy"]["name"] != "majority":
            source = shift_of(trial["source"]) if trial["source"] else ""
            at = (trial["strategy"]["label"], source, shift_of(trial["target"]), int(trial["seed"]))
            scores[at] = float(record.metrics["target"]["accuracy"])
    return scores, said


def process_per_run(todo: Sequence[Job], script: str = "plain_driver.py") -> Side:
    """Each job in a process of its own."""
    return _together([one_process([job], script) for job in todo])


def one_process(todo: Sequence[Job], script: str, python: str = sys.executable) -> Side:
    """All jobs by one process of a script that prints a line for each."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "jobs.json"
        path.write_text("".join(job.to_json() + "\n" for job in todo))
        began = cpu_seconds(), time.perf_counter()
        lines = call([python, str(HERE / script), str(path)]).splitlines()
        spent = cpu_seconds() - began[0], time.perf_counter() - began[1]
    said = [json.loads(line) for line in lines]
    return Side(*spent, {job.name: line["accuracy"] for job, line in zip(todo, said, strict=True)}, said)


def _together(sides: Sequence[Side]) -> Side:
    scores = {name: score for side in sides for name, score in side.scores.items()}
    said = [line for side in sides for line in side.said]
    return Side(sum(s.processor for s in sides), sum(s.wall for s in sides), scores, said)


def only(todo: Sequence[Job], methods: Sequence[str]) -> list[Job]:
    """The jobs of some methods."""
    return [job for job in todo if job.method in methods]


def shorter(todo: Sequence[Job], steps: int) -> list[Job]:
    """The same jobs with another number of steps."""
    return [replace(job, steps=steps) for job in todo]
