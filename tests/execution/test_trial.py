"""One trial in this process: what its record says, which point is its result, and what its strategy can see."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tlbench.api.records import Record, Status
from tlbench.api.trials import Trial
from tlbench.builtin.digits import Digits
from tlbench.data.cache import DataCache
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.reasons import where
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

SPIES = Path(__file__).parent / "spies.py"
NET = "{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}"


@dataclasses.dataclass
class Lab:
    """A bench, the trials of a suite, and what the spies saw."""

    bench: Bench
    trials: tuple[Trial, ...]
    seen: list[dict[str, Any]]

    def trial(self, strategy: str, **params: Any) -> Trial:
        (found,) = (
            t
            for t in self.trials
            if t.strategy.name == strategy and params.items() <= {**t.strategy.params, "seed": t.seed}.items()
        )
        return found

    def run(self, strategy: str, **params: Any) -> Record:
        trial = self.trial(strategy, **params)
        for key in trial.parents:
            parent = next(t for t in self.trials if t.key == key)
            assert self.do(parent).status == Status.OK
        return self.do(trial)

    def do(self, trial: Trial) -> Record:
        with self.bench.at_home():
            return run_trial(trial, self.bench)


def lab(
    folder: Path,
    strategies: str,
    *,
    task: str = "{name: fine-tuning, labels: 5}",
    seeds: int = 1,
    source: str = "shift: inverted",
    **recipe: Any,
) -> Lab:
    plugins = Plugins.discover(extra=[str(SPIES)], entry_points=False)
    stated = {"steps": 12, "batch_size": 16, "curve_points": 4, **recipe}
    suite = folder / "suite.yaml"
    suite.write_text(
        f"""
tlbench: 1
name: trial
sources: [{{name: digits, {source}}}]
targets: [digits]
tasks: [{task}]
backbones: [{NET}]
strategies: {strategies}
seeds: {seeds}
recipe: {json.dumps(stated)}
metrics: [accuracy, log-loss]
"""
    )
    run = Run.of(str(suite), plugins, Options(cache=folder / "cache", out=folder / "run"))
    spec = make_spec(
        plugins=plugins,
        run=folder / "run",
        base=folder,
        data_root=None,
        cache=folder / "cache",
        suite="trial",
        metrics=("accuracy", "log-loss"),
        device="cpu",
    )
    seen = sys.modules[plugins.get("strategies", "spy").cls.__module__].SEEN
    seen.clear()
    return Lab(Bench(spec), run.plan({}).trials, seen)


def digits(folder: Path, shift: Any = "none") -> Any:
    return Digits(shift=shift).load(DataCache(folder / "other-cache", None, folder, None)).splits


def accuracy(model: Any, weights: Any, x: Any, y: Any) -> float:
    """By torch alone: the weights put in, images to [-1, 1], the share of right answers."""
    model.load_state_dict(weights)
    model.eval()
    with torch.no_grad():
        scores = model(torch.from_numpy(np.array(x)).float() / 127.5 - 1)
    return float((scores.argmax(1).numpy() == y).mean())


# ---- the record ------------------------------------------------------------------------------------


def test_a_record_is_complete_and_plain_json_and_its_key_can_be_computed_from_it(tmp_path: Path) -> None:
    here = lab(tmp_path, "[fine-tune]")
    record = here.run("fine-tune")
    assert record.status == Status.OK, record.reason
    data = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert Record.from_json(data).to_json() == data
    assert Trial.from_json(data["trial"]).key == record.key == here.trial("fine-tune").key

    assert set(record.metrics["target"]) == {"accuracy", "log-loss"}
    curve = data["curve"]
    assert curve["steps"] == [0, 3, 6, 9, 12] == curve["points"]
    assert len(curve["scores"]) == len(curve["seconds"]) == 5
    assert curve["seconds"] == sorted(curve["seconds"])
    assert (curve["pool"], curve["metric"], curve["budget"], curve["selected"]) == ("target", "accuracy", 12, 12)
    assert curve["examples"] == data["data"]["test"]["target"] == len(digits(tmp_path)["test"].y)
    assert data["losses"]["steps"] == [3, 6, 9, 12]
    assert len(data["losses"]["loss"]) == 4
    assert {"setup", "training", "evaluation", "total"} <= set(data["clocks"])
    parts = sum(data["clocks"][name] for name in ("setup", "training", "evaluation"))
    assert 0 < parts <= data["clocks"]["total"]
    assert data["curve"]["seconds"][-1] <= data["clocks"]["training"]
    for name in ("training", "inference"):
        rate = data["throughput"][name]
        assert 0 < rate["q25"] <= rate["median"] <= rate["q75"]
    assert 0 < data["throughput"]["latency_ms"]["p50"] <= data["throughput"]["latency_ms"]["p95"]
    assert data["memory"]["peak_rss"] > 2**20
    # conv 3·3·1·4, norm 2·4, conv 3·3·4·8, norm 2·8, head 8·10 + 10
    assert data["cost"]["parameters"] == data["cost"]["trained_parameters"] == 36 + 8 + 288 + 16 + 90
    # two operations for each weight and place; the second convolution works on 4 × 4
    assert data["cost"]["forward_flops"] == 2 * (36 * 64 + 288 * 16 + 80)
    assert data["cost"]["steps"] == 12
    assert data["cost"]["examples"] == {"target": 12 * 16}
    assert data["data"]["pools"] == {"target": 50}
    assert data["data"]["target"]["licence"] == "CC BY 4.0"
    assert data["seeds"]["suite"] == here.trial("fine-tune").seed
    assert {"init", "head", "subset", "curve"} <= set(data["seeds"])
    assert {"versions", "device"} <= set(data["environment"])
    assert data["started"] <= data["finished"]


def test_the_same_trial_again_gives_the_same_record_up_to_its_clocks(tmp_path: Path) -> None:
    here = lab(tmp_path, "[fine-tune]")
    one, two = here.run("fine-tune").to_json(), here.run("fine-tune").to_json()
    for name in ("key", "metrics", "losses", "cost", "data", "seeds"):
        assert one[name] == two[name]
    assert one["curve"]["scores"] == two["curve"]["scores"]


def test_a_trial_that_changes_global_settings_does_not_change_the_next_one(tmp_path: Path) -> None:
    here = lab(tmp_path, "[fine-tune, meddler]")
    before = here.run("fine-tune")
    assert here.run("meddler").status == Status.OK
    after = here.run("fine-tune")
    assert after.status == Status.OK, after.reason
    assert (before.metrics, before.losses) == (after.metrics, after.losses)


def test_a_strategy_that_trains_nothing_has_a_curve_of_one_point(tmp_path: Path) -> None:
    here = lab(tmp_path, "[untrained]")
    record = here.run("untrained")
    assert record.status == Status.OK, record.reason
    share = float((digits(tmp_path)["test"].y == 0).mean())
    assert record.metrics["target"]["accuracy"] == pytest.approx(share)
    assert record.curve is not None
    assert (record.curve["steps"], record.curve["scores"], record.curve["selected"]) == ([0], [pytest.approx(share)], 0)
    assert record.losses is None
    assert record.cost["parameters"] is None
    assert record.cost["trained_parameters"] == 0
    assert record.throughput is not None
    assert record.throughput["training"] is None
    json.dumps(record.to_json(), allow_nan=False)


def test_the_majority_is_the_share_of_the_largest_class(tmp_path: Path) -> None:
    record = lab(tmp_path, "[spy]", task="{name: fine-tuning, labels: all}").run("majority")
    splits = digits(tmp_path)
    largest = np.bincount(splits["train"].y).argmax()
    assert record.metrics["target"]["accuracy"] == pytest.approx(float((splits["test"].y == largest).mean()))
    shares = np.bincount(splits["train"].y) / len(splits["train"].y)  # its scores are probabilities
    expected = -np.log(shares)[splits["test"].y].mean()
    assert record.metrics["target"]["log-loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("source", "status"),
    [("shift: inverted", Status.OK), ("classes: [3, 1, 4]", Status.SKIPPED)],
    ids=["same", "other"],
)
def test_what_needs_the_sources_classes_is_skipped_where_they_differ(
    tmp_path: Path, source: str, status: Status
) -> None:
    here = lab(tmp_path, "[source-only, linear-probe]", source=source)
    record = here.run("source-only")
    assert record.status == status, record.reason
    if status == Status.SKIPPED:
        assert "needs the same classes in source and target: digits has 3, digits has 10" in record.reason
    assert here.run("linear-probe").status == Status.OK  # which does not need them


def test_a_pool_that_the_task_does_not_offer_skips_the_trial_with_its_reason(tmp_path: Path) -> None:
    here = lab(tmp_path, "[wanting, spy]")
    trial = here.trial("wanting")
    assert trial.skip is not None
    assert "moonshine" in trial.skip
    record = here.do(trial)  # also where nobody looked at the plan
    assert record.status == Status.SKIPPED
    assert record.reason.startswith("wanting needs moonshine; the task fine-tuning")
    assert record.reason.endswith("offers target")
    assert record.metrics == {}


# ---- selection rules -------------------------------------------------------------------------------


def recomputed(here: Lab, record: Record, folder: Path, validation: Any) -> None:
    """Scores at each point, the choice and the final score, beside torch alone on the weights that the spy kept."""
    (seen,) = here.seen
    model, weights, curve = seen["model"], seen["weights"], record.curve
    assert curve is not None
    test = digits(folder)["test"]
    scores = [accuracy(model, weights[step], test.x, test.y) for step in curve["steps"]]
    assert curve["scores"] == pytest.approx(scores, abs=1e-9)
    selected = len(scores) - 1
    if validation is not None:
        x, y = validation(seen, test)
        chosen = [accuracy(model, weights[step], x, y) for step in curve["steps"]]
        assert curve["validation"] == pytest.approx(chosen, abs=1e-9)
        selected = int(np.argmax(chosen))
    else:
        assert curve["validation"] is None
    assert curve["selected"] == curve["steps"][selected]
    assert record.metrics["target"]["accuracy"] == pytest.approx(scores[selected], abs=1e-9)


def examples(seen: dict[str, Any], pool: str) -> tuple[Any, Any]:
    return seen["given"][pool].x, seen["given"][pool].y


ROUGH = {"lr": 0.3, "optimizer": "sgd", "schedule": "constant", "curve_points": 12, "curve_examples": 0}
"""So rough that the last point is not the best."""


def test_the_rule_last_takes_the_last_point(tmp_path: Path) -> None:
    here = lab(tmp_path, "[spy]", selection="last", **ROUGH)
    recomputed(here, here.run("spy"), tmp_path, None)


def test_what_is_done_to_the_weights_after_the_training_is_the_result(tmp_path: Path) -> None:
    here = lab(tmp_path, "[{name: spy, tag: averaged}]", selection="last", **ROUGH)
    recomputed(here, here.run("spy"), tmp_path, None)


def test_the_rule_target_val_takes_the_best_point_on_examples_of_the_label_budget(tmp_path: Path) -> None:
    here = lab(tmp_path, "[spy]", selection="target-val", **ROUGH)
    record = here.run("spy")
    recomputed(
        here, record, tmp_path, lambda seen, test: (seen["given"]["target_val"].x, seen["given"]["target_val"].y)
    )
    given = here.seen[0]["given"]
    assert np.bincount(np.concatenate([given["target"].y, given["target_val"].y])).tolist() == [5] * 10
    assert record.curve is not None
    assert record.curve["selected"] != 12, "the last point was the best: the test shows nothing"


def test_the_rule_oracle_takes_the_best_point_on_the_test_examples(tmp_path: Path) -> None:
    here = lab(tmp_path, "[spy]", selection="oracle", **ROUGH)
    record = here.run("spy")
    recomputed(here, record, tmp_path, lambda seen, test: (test.x, test.y))
    assert record.curve is not None
    assert record.metrics["target"]["accuracy"] == max(record.curve["scores"])


def test_the_rule_source_val_takes_the_best_point_on_the_source(tmp_path: Path) -> None:
    here = lab(tmp_path, "[source-spy]", task="adaptation", selection="source-val", **ROUGH)
    record = here.run("source-spy")
    recomputed(
        here, record, tmp_path, lambda seen, test: (seen["given"]["source_val"].x, seen["given"]["source_val"].y)
    )
    train = digits(tmp_path, "inverted")["train"]
    given = here.seen[0]["given"]
    assert len(given["source"]) + len(given["source_val"]) == len(train.y)


def test_a_metric_of_which_less_is_better_chooses_the_smallest(tmp_path: Path) -> None:
    here = lab(tmp_path, "[spy]", selection="target-val", **ROUGH)
    spec = {**here.bench.spec, "metrics": ["log-loss", "accuracy"]}
    here.bench = Bench(spec)
    curve = here.run("spy").curve
    assert curve is not None
    assert curve["metric"] == "log-loss"
    assert curve["selected"] == curve["steps"][int(np.argmin(curve["validation"]))]


def test_the_curve_on_some_examples_does_not_change_the_final_score(tmp_path: Path) -> None:
    whole, part = (
        lab(tmp_path, "[spy]", curve_examples=0).run("spy"),
        lab(tmp_path, "[spy]", curve_examples=100).run("spy"),
    )
    assert whole.curve is not None
    assert part.curve is not None
    assert part.curve["examples"] == 100
    assert part.curve["scores"] != whole.curve["scores"]
    assert part.metrics == whole.metrics


# ---- pairing ---------------------------------------------------------------------------------------


def test_two_strategies_of_one_pair_and_seed_see_the_same_examples_in_the_same_batches(tmp_path: Path) -> None:
    here = lab(tmp_path, "[{name: spy, tag: [a, b]}]", seeds=2, augmentation="crop-flip")
    seeds = sorted({t.seed for t in here.trials})
    for seed in seeds:
        for tag in "ab":
            assert here.run("spy", tag=tag, seed=seed).status == Status.OK
    a0, b0, a1, b1 = here.seen
    assert [s["tag"] for s in here.seen] == ["a", "b", "a", "b"]
    for a, b in ((a0, b0), (a1, b1)):
        assert len(a["batches"]) == 12
        assert a["batches"] == b["batches"]
        assert np.array_equal(a["given"]["target"].y, b["given"]["target"].y)
        assert all(torch.equal(a["weights"][0][k], b["weights"][0][k]) for k in a["weights"][0])
        assert not torch.equal(a["weights"][12]["head.weight"], b["weights"][12]["head.weight"])
    assert a0["batches"] != a1["batches"]
    assert not np.array_equal(a0["given"]["target"].x, a1["given"]["target"].x)
    assert not torch.equal(a0["weights"][0]["head.weight"], a1["weights"][0]["head.weight"])


def test_adding_a_strategy_changes_no_existing_trial(tmp_path: Path) -> None:
    one, two = (
        lab(tmp_path, "[spy]").run("spy"),
        lab(tmp_path, "[fine-tune, {name: spy, tag: [b, a]}]").run("spy", tag="a"),
    )
    assert one.key == two.key
    assert one.metrics == two.metrics


# ---- what a strategy can see -----------------------------------------------------------------------


@pytest.mark.parametrize("selection", ["last", "target-val"])
def test_no_strategy_finds_a_test_example_or_a_withheld_label_anywhere_in_its_process(
    tmp_path: Path, selection: str
) -> None:
    """Thieves walk their context, all frames and all objects; other trials ran in the same process before them.

    The control: the examples that they may see are found by the same walk.
    """
    done = subprocess.run(
        [sys.executable, str(SPIES.with_name("leak.py")), str(SPIES), selection],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"thief: ok", "adaptation-thief: ok"}, done.stdout
    thief, adapter = found["thief: ok"], found["adaptation-thief: ok"]
    assert thief["test labels"] == thief["test images"] == 0
    assert 80 <= thief["training images"] <= 100  # ten of each class, less those set apart
    assert adapter["test labels"] == adapter["test images"] == adapter["training labels"] == 0
    assert adapter["training images"] > 500
    assert adapter["source labels"] == 1


def test_a_reason_names_the_authors_own_line_and_not_the_library_below_it() -> None:
    code = compile(
        "import torch\ndef fit():\n    torch.zeros(2).reshape(3)\n    return 1\n", "/somewhere/my_method.py", "exec"
    )
    space: dict[str, Any] = {}
    exec(code, space)  # noqa: S102
    with pytest.raises(RuntimeError) as caught:
        space["fit"]()
    assert where(caught.value) == " (my_method.py:3)"
