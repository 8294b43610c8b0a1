"""Contract checks for each kind of plugin, and small problems that a method must solve; one line each.

    from tlbench.testing import check_strategy
    def test_my_method_keeps_the_contract():
        check_strategy(MyMethod())

Each check raises ``AssertionError`` with what was broken. They use the host's own loop, evaluation and stores.
"""

from tlbench.testing.kinds import (
    check_backbone,
    check_dataset,
    check_executor,
    check_metric,
    check_reporter,
    check_task,
)
from tlbench.testing.settings import two_graphs, unseen_classes
from tlbench.testing.strategies import check_strategy, reachable_arrays
from tlbench.testing.toys import Toy, check_beats, covariate_shift, few_labels, score

__all__ = [
    "Toy",
    "check_backbone",
    "check_beats",
    "check_dataset",
    "check_executor",
    "check_metric",
    "check_reporter",
    "check_strategy",
    "check_task",
    "covariate_shift",
    "few_labels",
    "reachable_arrays",
    "score",
    "two_graphs",
    "unseen_classes",
]
