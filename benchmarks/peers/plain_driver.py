"""One run as a script for it is usually written: a process for itself, Pillow, DataLoader, float32, nothing shared.

    python benchmarks/peers/plain_driver.py JOB.json

`matrices.py` makes the job. A method that starts from the source trains its own source model first. Loop, loaders,
losses and evaluation are plain PyTorch. It prints one line of JSON: the accuracy on the target's test split after the
last step, and the processor seconds of its parts. It draws no learning curve, and its loaders have no processes of
their own: on small images these cost more than they bring.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from work import (
    TEMPERATURE,
    Job,
    Order,
    Raw,
    adamw,
    budget,
    cosine,
    domain_classifier,
    fresh_head,
    jobs_of,
    network,
    probe,
    raw,
    resized,
    reversal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTS = ("reading", "loading", "source model", "training", "evaluation")
SPENT = dict.fromkeys(PARTS, 0.0)
"""Processor seconds. Loading is what the loaders took in all, and is not counted again in the others; what remains of
the process is its start."""


def read(domain: str, split: str, job: Job) -> Raw:
    began = time.process_time()
    found = raw(domain, split, job.data)
    SPENT["reading"] += time.process_time() - began
    return found


class Images(Dataset[Any]):
    """Images that are decoded, resized and normalised one by one."""

    def __init__(self, found: Raw, rows: Any = None) -> None:
        self.found, self.rows = found, range(len(found.y)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        row = int(self.rows[i])
        return resized(self.found, row, 16), int(self.found.y[row])


def batches(data: Images, seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    return timed(DataLoader(data, batch_sampler=Order(len(data), seed, steps)))


def timed(loader: Any) -> Iterator[Any]:
    """What a loader yields, with its time set down."""
    several = iter(loader)
    while True:
        began = time.process_time()
        found = next(several, None)
        SPENT["loading"] += time.process_time() - began
        if found is None:
            return
        yield found


def supervised(
    model: nn.Sequential, data: Images, seed: int, steps: int, part: str, *, head_only: bool = False
) -> None:
    optimizer = adamw(model[1] if head_only else model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: cosine(k, steps))
    model.train()
    if head_only:
        model[0].requires_grad_(False).eval()
    for x, y in batches(data, seed, steps):
        began = time.process_time()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        loss.item()  # to log it
        SPENT[part] += time.process_time() - began


class Reversed(torch.autograd.Function):
    """The same forwards; the gradient times -factor backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        return -ctx.factor * gradient, None


def coral(source: Tensor, target: Tensor) -> Tensor:
    """Sun & Saenko 2016, eq. 1."""
    return (source.T.cov() - target.T.cov()).pow(2).sum() / (4 * source.shape[1] ** 2)


def confusion(scores: Tensor) -> Tensor:
    """Jin et al. 2020, eq. 2 to 7."""
    share = (scores / TEMPERATURE).softmax(1)
    entropy = -(share * share.clamp(min=1e-30).log()).sum(1).detach()
    weight = 1 + torch.exp(-entropy)
    between = (share * (weight / weight.mean())[:, None]).T @ share
    between = between / between.sum(1, keepdim=True)
    return (between.sum() - between.diagonal().sum()) / len(between)


def adversarial(critic: nn.Module, source: Tensor, target: Tensor, factor: float) -> Tensor:
    """Ganin et al. 2016, eq. 9."""
    logits = critic(Reversed.apply(torch.cat([source, target]), factor)).squeeze(1)  # type: ignore[no-untyped-call]
    truth = torch.cat([torch.ones(len(source)), torch.zeros(len(target))])
    return F.binary_cross_entropy_with_logits(logits, truth)


def adapt(model: nn.Sequential, job: Job, source: Images, target: Images) -> None:
    extra: list[nn.Module] = []
    if job.method == "dann":
        extra = [domain_classifier(job, model[1].in_features)]  # type: ignore[arg-type]
    second: dict[str, Callable[..., Tensor]] = {
        "deep-coral": lambda s, t, k: coral(s, t),
        "mcc": lambda s, t, k: confusion(model[1](t)),
        "dann": lambda s, t, k: adversarial(extra[0], s, t, reversal(k, job.steps)),
    }
    optimizer = adamw(model, *extra)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: cosine(k, job.steps))
    model.train()
    pairs = zip(
        batches(source, job.chance["source"], job.steps),
        batches(target, job.chance["target_unlabelled"], job.steps),
        strict=True,
    )
    for step, ((x, y), (seen, _)) in enumerate(pairs):
        began = time.process_time()
        source_features, target_features = model[0](x), model[0](seen)
        gap = second[job.method](source_features, target_features, step)
        loss = F.cross_entropy(model[1](source_features), y) + gap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        loss.item()
        SPENT["training"] += time.process_time() - began


def fit(job: Job) -> nn.Sequential:
    """The trained network of a job."""
    model = network(job)
    if job.method in ("fine-tune", "head", "linear-probe"):
        source = Images(read(job.source, "train", job))
        supervised(model, source, job.chance["source"], job.source_steps, "source model")
        if job.method == "linear-probe":
            return model
        model[1] = fresh_head(job, model[1].in_features)  # type: ignore[arg-type]
    if job.method in ("scratch", "fine-tune", "head"):
        found = read(job.target, "train", job)
        labelled = Images(found, budget(found.y, job.labels, job.chance["subset"]))
        head_only = job.method == "head"
        supervised(model, labelled, job.chance["target"], job.steps, "training", head_only=head_only)
    elif job.method == "source-only":
        supervised(model, Images(read(job.source, "train", job)), job.chance["source"], job.steps, "training")
    elif job.method == "target-oracle":
        supervised(model, Images(read(job.target, "train", job)), job.chance["target"], job.steps, "training")
    else:
        both = (Images(read(domain, "train", job)) for domain in (job.source, job.target))
        adapt(model, job, *both)
    return model


def accuracy(model: nn.Module, data: Images) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in timed(DataLoader(data, batch_size=256)):
            began = time.process_time()
            right += int((model(x).argmax(1) == y).sum())
            SPENT["evaluation"] += time.process_time() - began
    return right / len(data)


def probed(model: nn.Sequential, train: Images, test: Images) -> float:
    """Accuracy of a linear probe on the frozen backbone's features."""
    model.eval()
    found = []
    for data in (train, test):
        with torch.no_grad():
            parts = [(model[0](x).numpy(), y.numpy()) for x, y in timed(DataLoader(data, batch_size=256))]
        found.append([np.concatenate(part) for part in zip(*parts, strict=True)])
    began = time.process_time()
    score = float(probe(*found[0]).score(*found[1]))
    SPENT["training"] += time.process_time() - began
    return score


def main() -> None:
    torch.set_num_threads(1)
    (job,) = jobs_of(sys.argv[1])
    model, test = fit(job), Images(read(job.target, "test", job))
    if job.method == "linear-probe":
        score = probed(model, Images(read(job.target, "train", job)), test)
    else:
        score = accuracy(model, test)
    print(json.dumps({"accuracy": score, **SPENT, "process": time.process_time()}))


if __name__ == "__main__":
    main()
