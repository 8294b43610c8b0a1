"""tlbench: transfer gain, negative transfer and throughput of transfer-learning methods, measured alike."""

from tlbench.api.hooks import API_VERSION, hookimpl
from tlbench.api.recipe import Recipe
from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Plan, Trial
from tlbench.api.types import (
    Adaptable,
    Backbone,
    Batch,
    Cache,
    Context,
    Dataset,
    Domain,
    Executor,
    Group,
    InputTransform,
    Metric,
    Pool,
    Problem,
    Reporter,
    Seeds,
    Shape,
    Split,
    Step,
    Strategy,
    Task,
    Turn,
    Work,
)
from tlbench.errors import DataError, PluginError, SkipTrial, SuiteError, TlbenchError, TrialError

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "Adaptable",
    "Backbone",
    "Batch",
    "Cache",
    "Choice",
    "Context",
    "DataError",
    "Dataset",
    "Domain",
    "Executor",
    "Group",
    "InputTransform",
    "Metric",
    "Plan",
    "PluginError",
    "Pool",
    "Problem",
    "Recipe",
    "Record",
    "Reporter",
    "Seeds",
    "Shape",
    "SkipTrial",
    "Split",
    "Status",
    "Step",
    "Strategy",
    "SuiteError",
    "Task",
    "TlbenchError",
    "Trial",
    "TrialError",
    "Turn",
    "Work",
    "__version__",
    "hookimpl",
]
