"""The jobs of adaptation and of linear probes by skada's deep methods, all in one process, with skorch's loop.

    python benchmarks/peers/skada_side.py JOBS.json

Its loaders draw the batches, so these are other ones than tlbench's; both domains pass the network together, as under
`passes: joint` in tlbench; the weights, the network, the steps and the rate of each step are the same. Set so that it
is the same work: domain loss with logits and weight one half (it adds up the two domains), a domain classifier of
tlbench's shape with the reversal's factor following the progress, MCC at temperature 2.5.
"""

from __future__ import annotations

import functools
import json
import sys
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from skada.deep import DANN, MCC, DeepCoral, SourceOnly, TargetOnly
from skada.deep.modules import GradientReversalLayer
from skorch.callbacks import LRScheduler
from torch import nn
from work import (
    BATCH,
    DECAY,
    LR,
    TEMPERATURE,
    Job,
    Order,
    arrays,
    cosine,
    domain_classifier,
    jobs_of,
    network,
    probe,
    reversal,
)

warnings.simplefilter("ignore")
SOURCE, TARGET = 1, -2
"""How skada marks the domain of an example."""

cached = functools.cache(arrays)


class Net(nn.Module):
    """Backbone and head under the names and with the argument that skada asks for."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.features, self.head = model[0], model[1]

    def forward(self, X: torch.Tensor, sample_weight: Any = None) -> torch.Tensor:  # skorch's name
        scores: torch.Tensor = self.head(self.features(X))
        return scores


class Critic(nn.Module):
    """The domain classifier, with the reversal in it, that counts the steps."""

    def __init__(self, job: Job, width: int) -> None:
        super().__init__()
        self.net, self.steps, self.step = domain_classifier(job, width), job.steps, 0

    def forward(self, x: torch.Tensor, sample_weight: Any = None) -> torch.Tensor:
        factor = reversal(self.step, self.steps)
        self.step += self.training
        turned = GradientReversalLayer.apply(x, factor)  # type: ignore[no-untyped-call]
        logits: torch.Tensor = self.net(turned).squeeze(1)
        return logits


def fit(job: Job) -> Any:
    """A fitted net of skada. Raises ``ValueError`` where the steps are no whole epochs of its loader."""
    model = network(job)
    source_x, y = cached(job.source or job.target, "train", job.data)
    target_x, target_y = cached(job.target, "train", job.data)
    steps = job.source_steps if job.method == "linear-probe" else job.steps
    if job.method == "source-only" and len(source_x) // BATCH > steps:
        # its loader knows whole epochs alone: one over the examples that tlbench shows in so many steps
        shown_N = np.concatenate(list(Order(len(source_x), job.chance["source"], steps)))
        source_x, y = source_x[shown_N], y[shown_N]
    own = {"source-only": [source_x], "linear-probe": [source_x], "target-oracle": [target_x]}
    epoch = min(map(len, own.get(job.method, [source_x, target_x]))) // BATCH
    epochs, rest = divmod(steps, epoch)
    if rest:
        raise ValueError(f"{steps} steps are no whole epochs of {epoch}")
    common = {
        "optimizer": torch.optim.AdamW,
        "optimizer__weight_decay": DECAY,
        "lr": LR,
        "max_epochs": epochs,
        "batch_size": BATCH,
        "train_split": None,
        "verbose": 0,
        "iterator_valid__batch_size": 256,
        "callbacks": [LRScheduler("LambdaLR", lr_lambda=lambda k: cosine(k, steps), step_every="batch")],
    }
    if job.method in ("deep-coral", "dann", "mcc"):
        common["iterator_train__max_samples"] = "min"
    makers = {
        "source-only": lambda: SourceOnly(Net(model), "features", **common),
        "target-oracle": lambda: TargetOnly(Net(model), "features", **common),
        "linear-probe": lambda: SourceOnly(Net(model), "features", **common),
        "deep-coral": lambda: DeepCoral(Net(model), "features", reg=1.0, **common),
        "mcc": lambda: MCC(Net(model), "features", reg=1.0, T=TEMPERATURE, **common),
        "dann": lambda: DANN(
            Net(model),
            "features",
            reg=0.5,
            domain_classifier=Critic(job, model[1].in_features),  # type: ignore[arg-type]
            domain_criterion=nn.BCEWithLogitsLoss(),
            **common,
        ),
    }
    torch.manual_seed(job.chance["source"] % 2**31)
    net = makers[job.method]()
    domains = np.concatenate([np.full(len(source_x), SOURCE), np.full(len(target_x), TARGET)])
    shown = target_y if job.method == "target-oracle" else np.full(len(target_x), -1)
    return net.fit(np.concatenate([source_x, target_x]), np.concatenate([y, shown]), domains)


@functools.cache
def source_model(source: str, seed: int, line: str) -> Any:
    """A net fitted on a source: once for all its targets, as whoever writes one script for them would do it."""
    return fit(Job(**json.loads(line)))


def probed(job: Job) -> float:
    """Accuracy of a linear probe on the features of the source's backbone."""
    line = replace(job, target=job.source, chance={**job.chance, "subset": 0, "fit": 0}).to_json()
    net, found = source_model(job.source, job.seed, line), []
    for split in ("train", "test"):
        x, y = cached(job.target, split, job.data)
        found.append((net.predict_features(x), y))
    return float(probe(*found[0]).score(*found[1]))


def adapted(job: Job) -> float:
    """Accuracy on the target's test split. Raises ``RuntimeError`` where skorch made another number of steps."""
    net = fit(job)
    x, y = cached(job.target, "test", job.data)
    guess = net.predict(x, np.full(len(x), TARGET))
    steps = sum(len(epoch["batches"]) for epoch in net.history)
    if steps != job.steps:
        raise RuntimeError(f"{steps} steps instead of {job.steps}")
    return float((guess == y).mean())


def main() -> None:
    torch.set_num_threads(1)
    for job in jobs_of(sys.argv[1]):
        began = time.process_time()
        score = probed(job) if job.method == "linear-probe" else adapted(job)
        print(json.dumps({"accuracy": score, "seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
