"""Tuned rows: chosen on validation, never on test, the whole grid's cost counted, and the reference tuned alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.api.records import Status
from tlbench.api.trials import Choice
from tlbench.cli import main
from tlbench.leaderboard import build

if TYPE_CHECKING:
    from types import SimpleNamespace

    from tlbench.leaderboard import Leaderboard, Row


def row(board: Leaderboard, label: str) -> Row:
    return next(r for r in board.groups[0].rows if r.label == label)


def labels(board: Leaderboard) -> list[str]:
    return sorted(r.label for r in board.groups[0].rows)


def said(board: Leaderboard) -> str:
    return " ".join(note.text for note in board.notes if note.kind == "tuned")


# On test the second set is best; on validation the first is for seed 0 and the second for seed 1.
TEST = {1.0: [0.60, 0.61], 2.0: [0.70, 0.71]}
VALIDATION = {1.0: [0.9, 0.3], 2.0: [0.5, 0.8]}


def entry(make: SimpleNamespace, name: str, params: dict[str, Any], seed: int, score: float, validation: float | None,
          source: str | None = "a", selection: str = "target-val", reference: str | None = "scratch",
          seconds: float = 10.0) -> Any:  # fmt: skip
    label = name + (f"({next(iter(params.items()))})" if params else "")
    trial = replace(
        make.trial("x", source, "c", seed, selection=selection, reference=reference),
        strategy=Choice(name, label, params),
    )
    made = make.record(trial, score, curve=([0, 50, 100], [0.1, score, 0.2]), seconds=seconds)
    curve = {**made.curve, "validation": None if validation is None else [0.99, validation, 0.98], "selected": 50}
    return replace(made, curve=curve)


def grid(make: SimpleNamespace, *, selection: str = "target-val", validated: bool = True) -> list[Any]:
    records = []
    for seed in range(2):
        records.append(entry(make, "scratch", {}, seed, 0.5, 0.4, None, selection, None))
        for alpha in TEST:
            validation = VALIDATION[alpha][seed] if validated else None
            records.append(
                entry(make, "l2", {"alpha": alpha}, seed, TEST[alpha][seed], validation, selection=selection)
            )
    return records


def test_the_set_of_each_seed_is_chosen_on_validation_and_never_on_test(make: SimpleNamespace) -> None:
    board = build(grid(make), tuned=True)
    assert labels(board) == ["l2 (tuned)", "scratch"]
    tuned = row(board, "l2 (tuned)")
    assert tuned.cells["score"].value == pytest.approx((0.60 + 0.71) / 2)
    assert tuned.cells["gain"].value == pytest.approx((0.60 + 0.71) / 2 - 0.5)
    assert "l2 over 2" in said(board)


def test_without_asking_the_grid_is_shown_whole(make: SimpleNamespace) -> None:
    assert len(labels(build(grid(make)))) == 3


def test_the_cost_is_that_of_the_whole_grid(make: SimpleNamespace) -> None:
    model = make.trial("source-training", None, "a", 0, reference=None, kind="source-model", task="source-training")
    records = [make.record(model, 0.9, seconds=100.0)]
    for alpha, seconds in ((1.0, 10.0), (2.0, 30.0)):
        made = entry(make, "l2", {"alpha": alpha}, 0, 0.6, alpha, seconds=seconds)
        records.append(replace(made, trial={**made.trial, "parents": [model.key]}))
    records.append(entry(make, "scratch", {}, 0, 0.5, 0.4, None, reference=None))
    cells = row(build(records, tuned=True), "l2 (tuned)").cells
    assert cells["time"].value == pytest.approx(40.0)
    assert cells["cost"].value == pytest.approx(40.0 + 100.0)  # each trial carries half of the model that both share
    assert cells["cost_alone"].value == pytest.approx(140.0)  # alone the grid needs the model once


def test_an_untuned_reference_beside_a_tuned_row_is_told(make: SimpleNamespace) -> None:
    assert "scratch is NOT tuned" in said(build(grid(make), tuned=True))


def test_the_reference_is_tuned_over_a_grid_of_its_own(make: SimpleNamespace) -> None:
    records = grid(make)
    for seed in range(2):  # worse on validation for seed 0, better for seed 1
        records.append(entry(make, "scratch", {"lr": 0.3}, seed, 0.56, [0.1, 0.9][seed], None))
    board = build(records, tuned=True)
    assert labels(board) == ["l2 (tuned)", "scratch (tuned)"]
    assert row(board, "scratch (tuned)").reference
    assert row(board, "scratch (tuned)").cells["score"].value == pytest.approx((0.50 + 0.56) / 2)
    assert row(board, "l2 (tuned)").cells["gain"].value == pytest.approx(((0.60 - 0.50) + (0.71 - 0.56)) / 2)
    assert board.groups[0].against == "scratch (tuned)"
    assert "NOT tuned" not in said(board)


def test_a_smaller_grid_of_the_reference_is_told(make: SimpleNamespace) -> None:
    records = grid(make)
    for seed in range(2):
        records.append(entry(make, "l2", {"alpha": 3.0}, seed, 0.4, 0.1))
        records.append(entry(make, "scratch", {"lr": 0.3}, seed, 0.56, 0.1, None))
    assert "smaller" in said(build(records, tuned=True))


@pytest.mark.parametrize("selection", ["last", "oracle"])
def test_without_validation_scores_a_grid_stays_as_it_is_and_the_note_says_why(
    make: SimpleNamespace, selection: str
) -> None:
    """Under ``oracle`` what stands under "validation" are test scores."""
    board = build(grid(make, selection=selection, validated=selection == "oracle"), tuned=True)
    assert len(labels(board)) == 3
    assert "l2 is not tuned" in said(board)
    assert selection in said(board)


def test_one_trial_without_a_validation_score_keeps_the_grid_whole(make: SimpleNamespace) -> None:
    records = grid(make)
    records[-1] = entry(make, "l2", {"alpha": 2.0}, 1, 0.71, None)
    board = build(records, tuned=True)
    assert len(labels(board)) == 3
    assert "1 of its trials" in said(board)


def test_a_seed_at_which_a_set_failed_has_no_tuned_result(make: SimpleNamespace) -> None:
    records = grid(make)
    records[-1] = replace(records[-1], status=Status.OOM, reason="no memory", metrics={}, curve=None)
    board = build(records, tuned=True)
    tuned = row(board, "l2 (tuned)")
    assert tuned.cells["coverage"].text == "1/2"
    assert tuned.cells["score"].value == pytest.approx(0.60)
    # a set that was never planned at a seed is as missing
    board = build(grid(make)[:-1], tuned=True)
    assert row(board, "l2 (tuned)").cells["coverage"].text == "1/2"


def test_where_less_is_better_the_least_validation_score_chooses(make: SimpleNamespace) -> None:
    tuned = row(build(grid(make), tuned=True, higher_is_better=False), "l2 (tuned)")
    assert tuned.cells["score"].value == pytest.approx((0.70 + 0.61) / 2)


def test_a_board_without_grids_is_left_as_it_is(make: SimpleNamespace) -> None:
    board = build(make.small_board(), tuned=True)
    assert labels(board) == ["good", "mixed", "scratch"]
    assert "No strategy has several parameter sets" in said(board)


def test_the_command_line_asks_for_tuned_rows(
    make: SimpleNamespace, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from tlbench.results.store import RunFolder

    with RunFolder(tmp_path).writing() as writer:
        for record in grid(make):
            writer.write(record)
    assert main(["leaderboard", str(tmp_path), "--tuned"]) == 0
    assert "l2 (tuned)" in capsys.readouterr().out
