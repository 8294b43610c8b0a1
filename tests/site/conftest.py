"""What the tests of the site share: runs whose trials a real suite planned, and a browser that keeps account.

The browser is the system's Chromium, driven by Playwright; without one of them these tests are skipped.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.loading import loaded
from tlbench.plan.build import build as plan
from tlbench.plugins import Plugins
from tlbench.results.lines import to_line
from tlbench.results.store import RunFolder
from tlbench.site import build
from tlbench.suite.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUITE = """
tlbench: 1
name: digits for the site
description: Digits & their <shifts>.
datasets:
  inverted: {name: digits, shift: inverted, half: first}
  shuffled: {name: digits, shift: shuffled, half: first}
  noisy: {name: digits, shift: noisy, half: second}
  rotated: {name: digits, shift: rotated, half: second}
sources: [{name: digits, half: first}, inverted, shuffled]
targets: [noisy, rotated]
tasks: [{name: fine-tuning, labels: 5}]
backbones: [{name: small-cnn, size: 16, channels: 1, label: small-cnn}]
strategies: [linear-probe, fine-tune, {name: l2-sp, alpha: 0.02}]
seeds: 3
recipe: {steps: 40}
source_recipe: {steps: 70}
metrics: [accuracy, macro-f1]
"""
EFFECT = {"fine-tune": 0.12, "l2-sp": 0.02, "linear-probe": -0.15}


def result(trial: Trial, **more: Any) -> Record:
    """A trial's record with everything that a real one has; its score has the strategy's effect and some noise."""
    rng = np.random.default_rng(int(trial.key[:12], 16))
    end = float(np.clip(0.6 + EFFECT.get(trial.strategy.name, 0.0) + rng.normal(0, 0.01), 0, 1))
    steps = list(range(0, 41, 4))
    scores = [round(end * (0.3 + 0.7 * s / 40), 6) for s in steps]
    curve = {"pool": "target", "metric": "accuracy", "examples": 450, "steps": steps, "scores": scores, "selected": 40}
    return Record(**{
        "key": trial.key, "status": Status.OK, "trial": trial.to_json(), "suite": "site", "curve": curve,
        "metrics": {"target": {"accuracy": end, "macro-f1": end - 0.01}},
        "losses": {"steps": steps[1:], "loss": [round(1 / s, 6) for s in steps[1:]]},
        "clocks": {"setup": 0.1, "training": 1.5, "evaluation": 0.2, "total": float(1.8 + rng.random())},
        "throughput": {"training": {"median": 3000.0, "q25": 2900.0, "q75": 3100.0, "windows": 9}},
        "memory": {"peak_rss": 500_000_000}, "cost": {"steps": 40, "parameters": 94186},
        "data": {"target": {"content": "0cf5cd4137ff3f98a302f5b16a43dd32", "classes": 10}, "test": {"target": 450}},
        "seeds": {"suite": trial.seed, "init": 2717648589360569546},
        "environment": {"versions": {"python": "3.11", "torch": "2.7"}, "device": {"fingerprint": "a CPU"}},
        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:02+00:00", **more,
    })  # fmt: skip


def write_run(path: Path, records: Sequence[Record], trials: Sequence[Trial], **suite: Any) -> Path:
    """A run folder of these records."""
    with RunFolder(path).writing() as writer:
        writer.plan({"name": "digits for the site", "metrics": ["accuracy"], **suite}, trials)
    (path / "records" / "20260101T000000-000000001.jsonl").write_text("".join(map(to_line, records)))
    return path


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Path:
    """A run of a real plan: 3 sources, 2 targets, 3 strategies, 3 seeds; one trial failed, one never ran."""
    folder = tmp_path_factory.mktemp("run")
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    planned = plan(load(suite, plugins), plugins)
    records = [result(t) for t in planned.trials]
    probes = [i for i, t in enumerate(planned.trials) if t.strategy.name == "linear-probe"]
    lost = records[probes[0]]
    records[probes[0]] = replace(lost, status=Status.FAILED, reason="CUDA <error>", metrics={}, curve=None, losses=None)
    del records[probes[1]]
    about = {"description": "Digits & their <shifts>.", "expect": "fine-tune helps"}
    return write_run(folder / "runs" / "my run", records, planned.trials, **about)


@pytest.fixture(scope="session")
def site(run: Path, plugins: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(loaded([run], plugins), plugins, tmp_path_factory.mktemp("site") / "out").folder


def hand_made(strategies: Sequence[str], sources: Sequence[str], targets: Sequence[str], seeds: int) -> list[Record]:
    """Records of a plan that nobody made: every strategy on every pair, and ``scratch`` on every target."""
    task, backbone = Choice("fine-tuning", "fine-tuning", {"labels": 5}), Choice("small-cnn", "small-cnn", {"size": 16})
    recipe = Choice("recipe", "recipe", {"steps": 40, "selection": "last"})
    made = []
    for seed in range(seeds):
        for t, target in enumerate(targets):
            goal = Choice("digits", target, {"angle": t})
            made.append(result(Trial(None, goal, task, Choice("scratch", "scratch"), backbone, recipe, seed)))
            for s, source in enumerate(sources):
                start = Choice("digits", source, {"angle": 1000 + s})
                for m, name in enumerate(strategies):
                    effect = 0.2 * np.cos(m) * np.cos(3 * s + t)
                    choice = Choice("fine-tune", name, {"lr": float(m + 1), "train": "all"})
                    record = result(Trial(start, goal, task, choice, backbone, recipe, seed, reference="scratch"))
                    score = float(np.clip(record.metrics["target"]["accuracy"] + effect, 0, 1))
                    made.append(replace(record, metrics={"target": {"accuracy": score}}))
    return made


@pytest.fixture(scope="session")
def make_run() -> Any:
    return write_run


@pytest.fixture(scope="session")
def make_records() -> Any:
    return hand_made


# ---- the browser ---------------------------------------------------------------------------------


@dataclass
class Visit:
    """A page with what happened on it: errors of any kind, and every request."""

    page: Any
    folder: Path
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, route: str = "/") -> Any:
        """Go to a route and wait until it is drawn; the page."""
        self.page.goto("about:blank")  # else a new hash alone is no new page, and the old view may be looked at
        self.page.goto(f"{self.folder.as_uri()}/index.html#{route}")
        self.page.wait_for_selector("main:not([aria-busy]) h1")
        return self.page

    def check(self) -> None:
        """No error was said, and nothing was asked for outside the folder."""
        assert self.errors == []
        outside = [r for r in self.requests if not r.startswith((f"{self.folder.as_uri()}/", "blob:file:"))]
        assert outside == []


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium on the PATH")
    with api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """``visit(folder, **options of the context)`` gives a ``Visit``, which is checked at the end."""
    made: list[tuple[Any, Visit]] = []

    def start(folder: Path, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        one = Visit(context.new_page(), folder)
        one.page.on("console", lambda m: one.errors.append(m.text) if m.type in {"error", "warning"} else None)
        one.page.on("pageerror", lambda error: one.errors.append(str(error)))
        one.page.on("dialog", lambda dialog: (one.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        one.page.on("request", lambda request: one.requests.append(request.url))
        made.append((context, one))
        return one

    yield start
    for context, one in made:
        context.close()
        one.check()
