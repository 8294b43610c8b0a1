"""Controls and retention: what is possible, what is kept of the source, and what was seen before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench.leaderboard import build
from tlbench.leaderboard.overlap import named

if TYPE_CHECKING:
    from types import SimpleNamespace

    from tlbench.leaderboard import Leaderboard, Row


def row(board: Leaderboard, label: str, task: str = "") -> Row:
    return next(r for g in board.groups for r in g.rows if r.label == label and g.task.startswith(task))


def said(board: Leaderboard, kind: str) -> str:
    return " ".join(note.text for note in board.notes if note.kind == kind)


BLIND, BEST, SCORE = {"c": 0.1, "d": 0.2}, {"c": 0.9, "d": 0.8}, {"c": 0.5, "d": 0.74}


def controlled_board(make: SimpleNamespace, *, best_task: str, examples: int = 1000) -> list[Any]:
    records = []
    for target in "cd":
        for seed in range(3):
            wobble = (seed - 1) / 1000
            records.append(make.reference(target, seed, 0.3 + wobble))
            records.append(make.record(make.trial("majority", None, target, seed), BLIND[target]))
            trial = make.trial("target-oracle", None, target, seed, reference=None, task=best_task)
            records.append(make.record(trial, BEST[target] + wobble, examples=examples))
            if best_task != "fine-tuning 10":
                low = make.trial("source-only", "a", target, seed, reference=None, task=best_task)
                records.append(make.record(low, 0.2, examples=examples))
            records.append(make.record(make.trial("m", "a", target, seed), SCORE[target] + wobble))
    return records


def test_the_share_of_the_possible_lies_between_a_blind_guess_and_maximal_supervision(make: SimpleNamespace) -> None:
    board = build(controlled_board(make, best_task="fine-tuning 10"))
    cell = row(board, "m").cells["controlled"]
    assert cell.value == pytest.approx(((0.5 - 0.1) + (0.74 - 0.2)) / ((0.9 - 0.1) + (0.8 - 0.2)))
    assert isinstance(cell.low, float)
    assert cell.low < cell.value < cell.high  # type: ignore[operator]
    assert row(board, "majority").cells["controlled"].text == "0 %"
    assert row(board, "target-oracle").cells["controlled"].text == "100 %"


def test_controls_of_another_task_serve_where_they_are_scored_on_as_many_examples(make: SimpleNamespace) -> None:
    board = build(controlled_board(make, best_task="adaptation"))
    value = ((0.5 - 0.1) + (0.74 - 0.2)) / ((0.9 - 0.1) + (0.8 - 0.2))
    assert row(board, "m", "fine").cells["controlled"].value == pytest.approx(value)
    assert row(board, "source-only").cells["controlled"].value == pytest.approx((0.1 + 0.0) / 1.4)
    other = build(controlled_board(make, best_task="few-shot", examples=75))
    assert row(other, "m").cells["controlled"].value is None


def test_of_several_tasks_with_controls_one_is_taken_whatever_the_order_of_the_records(make: SimpleNamespace) -> None:
    records = controlled_board(make, best_task="adaptation")
    for target in "cd":
        for seed in range(3):
            records.append(make.record(make.trial("majority", None, target, seed, task="zz"), 0.4))
            records.append(
                make.record(make.trial("target-oracle", None, target, seed, task="zz", reference=None), 0.95)
            )
    one, other = (row(build(r), "m", "fine").cells["controlled"].value for r in (records, records[::-1]))
    assert (one, other) == pytest.approx((0.94 / 1.4, 0.94 / 1.4))


def test_without_controls_there_is_no_such_column(make: SimpleNamespace) -> None:
    assert "controlled" not in {c.key for c in build(make.small_board()).columns}


# ---- retention -----------------------------------------------------------------------------------


def with_source(record: Any, score: float, **other: float) -> Any:
    return replace(
        record,
        metrics={**record.metrics, "source": {"accuracy": score}, **{k: {"accuracy": v} for k, v in other.items()}},
    )


def retaining(make: SimpleNamespace, *, own_parent: bool) -> list[Any]:
    records = []
    for seed in range(2):
        model = make.trial(
            "source-training", None, "a", seed, reference=None, task="source-training", kind="source-model"
        )
        trained = with_source(make.record(model, 0.0), 0.9 + seed / 100)
        records.append(replace(trained, metrics={"source": trained.metrics["source"]}))
        records.append(make.reference("c", seed, 0.5, task="multi-task"))
        parents = (model.key,) if own_parent else ()
        trial = make.trial("joint", "a", "c", seed, task="multi-task", parents=parents)
        records.append(with_source(make.record(trial, 0.6), 0.8))
    return records


@pytest.mark.parametrize("own_parent", [True, False])
def test_retention_is_the_score_on_the_source_after_minus_before(make: SimpleNamespace, own_parent: bool) -> None:
    board = build(retaining(make, own_parent=own_parent))
    cell = row(board, "joint").cells["retention"]
    assert cell.value == pytest.approx(np.mean([0.8 - 0.90, 0.8 - 0.91]))
    assert cell.tone == "bad"
    assert row(board, "scratch").cells["retention"].value is None


def test_a_source_score_without_a_source_model_or_beside_a_harmonic_mean_is_no_retention(make: SimpleNamespace) -> None:
    without = [r for r in retaining(make, own_parent=False) if r.trial["kind"] == "trial"]
    assert "retention" not in {c.key for c in build(without).columns}
    seen = [with_source(r, 0.8, harmonic=0.7) if "source" in r.metrics and r.trial["kind"] == "trial" else r
            for r in retaining(make, own_parent=True)]  # fmt: skip
    assert "retention" not in {c.key for c in build(seen).columns}


def test_where_less_is_better_more_error_on_the_source_is_bad(make: SimpleNamespace) -> None:
    board = build(retaining(make, own_parent=True), higher_is_better=False)
    cell = row(board, "joint").cells["retention"]
    assert cell.value == pytest.approx(-0.105)
    assert cell.tone == ""


# ---- overlap of pre-training ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pretrained", "data"),
    [
        ("imagenet", "imagenette2"),
        ("augreg2_in21k_ft_in1k", "tiny-imagenet"),
        ("cifar10", "uoft-cs/cifar10"),
        ("CIFAR-10", "cifar10"),
        ("inat_bird", "iNaturalist 2021"),
    ],
)
def test_names_of_one_data_set_are_known_to_be_so(pretrained: str, data: str) -> None:
    assert named(pretrained) & named(data)


@pytest.mark.parametrize(
    ("pretrained", "data"),
    [
        ("cifar10", "cifar100"),
        ("imagenet", "flowers5"),
        ("timm's weights for resnet18", "folder in the form of a Hugging Face data set ylecun/mnist"),
        ("laion2b", "pacs"),
        ("digits", "Optical Recognition of Handwritten Digits"),
    ],
)
def test_names_of_different_data_sets_are_not_taken_for_one(pretrained: str, data: str) -> None:
    assert not named(pretrained) & named(data)


def test_an_overlap_is_told_and_nothing_is_left_out(make: SimpleNamespace) -> None:
    def seen(record: Any) -> Any:
        about = {"pretrained_on": "imagenet_in1k", "target": {"source": "folder fastai/imagenette"}, "test": {}}
        return (
            replace(record, data=about)
            if record.trial["target"]["label"] == "c"
            else replace(record, data={"pretrained_on": "imagenet_in1k", "target": {"source": "file d.csv"}})
        )

    records = make.small_board()
    board = build([seen(r) for r in records])
    text = said(board, "overlap")
    assert "imagenet_in1k" in text
    assert "target c" in text
    assert "target d" not in text
    assert row(board, "good").cells["gain"].value == row(build(records), "good").cells["gain"].value
    assert said(build(records), "overlap") == ""


def test_hostile_names_of_data_are_made_harmless(make: SimpleNamespace) -> None:
    records = [
        replace(r, data={"pretrained_on": "imagenet\x1b[31m", "target": {"source": "imagenet \x1b]0;x\x07"}})
        for r in make.small_board()
    ]
    assert "\x1b" not in said(build(records), "overlap")
    assert said(build(records), "overlap")
    odd = [replace(r, data={"pretrained_on": ["x"], "target": "imagenet"}) for r in make.small_board()]
    assert said(build(odd), "overlap") == ""
