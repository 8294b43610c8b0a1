"""The contract of every strategy, and small problems that they solve and scratch does not."""

from typing import Any

import numpy as np
import pytest
import tlbench_tuning
from tlbench_tuning.bss import BSS
from tlbench_tuning.distillation import Distillation
from tlbench_tuning.ewc import EWC
from tlbench_tuning.feature_augmentation import FeatureAugmentation
from tlbench_tuning.feature_extraction import FeatureExtraction, RandomFeatures
from tlbench_tuning.joint import TargetWeightedJoint
from tlbench_tuning.layer_transfer import LayerTransfer, Selffer
from tlbench_tuning.lp_ft import LPFT, WiSEFT
from tlbench_tuning.lwf import LwF
from tlbench_tuning.prior_transfer import PriorTransfer
from tlbench_tuning.surgical import Surgical
from tlbench_tuning.unfreezing import GradualUnfreezing

from tlbench.builtin.references import Scratch
from tlbench.testing import check_beats, check_strategy, few_labels, score
from tlbench.testing.toys import fit

DEFAULTS = [cls() for cls in tlbench_tuning.tlbench_strategies()]
OTHERS = [
    FeatureExtraction(block=0),
    LayerTransfer(copy="last", blocks=2, tune_copied=True),
    Selffer(copy="last", first_steps=5),
    Surgical(block=0),
    LwF(weight=0.0, warmup=0.0),
    Distillation(student="transferred", teacher_steps=5),
    PriorTransfer(model="ridge"),
    TargetWeightedJoint(head="shared"),
]
CONTROLS = [Selffer(blocks=1), Selffer(blocks=2), LayerTransfer(blocks=0), RandomFeatures()]


@pytest.mark.parametrize("strategy", [*DEFAULTS, *OTHERS], ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_names_are_distinct_and_in_the_fields_words() -> None:
    names = [s.name for s in DEFAULTS]
    assert len(set(names)) == len(names)
    assert {"feature-extraction", "gradual-unfreezing", "lp-ft", "layer-transfer", "selffer", "surgical"} <= set(names)
    assert {"lwf", "distillation", "prior-transfer", "target-weighted-joint", "feature-augmentation"} <= set(names)


@pytest.mark.parametrize(
    "strategy",
    [
        FeatureExtraction(), FeatureExtraction(block=0), GradualUnfreezing(), LPFT(), WiSEFT(), Surgical(), LwF(),
        LayerTransfer(blocks=2), LayerTransfer(blocks=1, tune_copied=True), BSS(), EWC(),
        PriorTransfer(), PriorTransfer(model="ridge"), FeatureAugmentation(),
        TargetWeightedJoint(), TargetWeightedJoint(head="shared"),
    ],
    ids=str,
)  # fmt: skip
def test_what_six_examples_cannot_teach_is_taken_from_the_source(strategy: Any) -> None:
    check_beats(strategy, few_labels(), margin=0.1)


@pytest.mark.parametrize("strategy", CONTROLS, ids=str)
def test_without_anything_of_the_source_it_is_no_better_than_scratch(strategy: Any) -> None:
    seeds = range(3)
    ours, theirs = ([score(s, few_labels(), seed) for seed in seeds] for s in (strategy, Scratch()))
    assert np.mean(ours) < np.mean(theirs) + 0.1


@pytest.mark.parametrize(
    ("cls", "params", "said"),
    [
        (FeatureExtraction, {"folds": 1}, "folds must be at least 2, got 1"),
        (RandomFeatures, {"folds": 0}, "folds must be at least 2, got 0"),
        (GradualUnfreezing, {"share": 1.0}, "share must be in"),
        (GradualUnfreezing, {"decay": 0.5}, "decay must be at least 1, got 0.5"),
        (GradualUnfreezing, {"lr": 0.0}, "lr must be positive, got 0.0"),
        (LPFT, {"lr": -1.0}, "lr must be positive, got -1.0"),
        (WiSEFT, {"alpha": 1.5}, "alpha must be in"),
        (LayerTransfer, {"blocks": -1}, "blocks must not be negative, got -1"),
        (Selffer, {"first_steps": 0}, "first_steps must be at least 1, got 0"),
        (Surgical, {"rounds": 0}, "rounds must be at least 1, got 0"),
        (LwF, {"temperature": 0.0}, "temperature must be positive, got 0.0"),
        (LwF, {"warmup": 1.0}, "warmup must be in"),
        (LwF, {"weight": -1.0}, "weight must not be negative, got -1.0"),
        (Distillation, {"weight": 2.0}, "weight must be in"),
        (Distillation, {"teacher_steps": 0}, "teacher_steps must be at least 1, got 0"),
        (PriorTransfer, {"strength": 0.0}, "strength must be positive, got 0.0"),
        (FeatureAugmentation, {"strength": -1.0}, "strength must be positive, got -1.0"),
        (TargetWeightedJoint, {"gamma": -0.1}, "gamma must be in"),
        (EWC, {"strength": -1.0}, "strength must not be negative, got -1.0"),
        (EWC, {"examples": 0}, "examples must be at least 1, got 0"),
        (BSS, {"smallest": 0}, "smallest must be at least 1, got 0"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value(cls: Any, params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cls(**params)


def test_what_a_branch_trains_is_no_part_of_the_budget() -> None:
    """Teacher and base network have budgets of their own; the record's steps count them."""
    toy = few_labels()
    for strategy in (Distillation(teacher_steps=30), Selffer(first_steps=30)):
        done = fit(strategy, toy)
        assert done.ctx.steps_left == 0
        assert done.tape.steps == 30 + 120
        assert max(s.at for s in done.tape.snapshots) == 120
