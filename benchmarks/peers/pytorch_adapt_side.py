"""The jobs of adaptation and of linear probes by pytorch-adapt, in one process, without a trainer around its hooks.

    python benchmarks/peers/pytorch_adapt_side.py JOBS.json

Its hooks do the step, losses and optimiser; data are TensorDatasets made once for each domain and read by DataLoaders
with tlbench's batches. Set so that it is the same work: the losses are summed (its default is their mean), DANN's two
domain losses weigh a half each, the reversal's factor follows the progress (its default is 1), the source is 1 and
the target 0 (the other way round its domain classifier starts from the other side: three points in a run), MCC has
temperature 2.5.
"""

from __future__ import annotations

import functools
import json
import sys
import time
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from work import TEMPERATURE, Job, Order, adamw, arrays, cosine, domain_classifier, jobs_of, network, probe, reversal

warnings.simplefilter("ignore")  # of pkg_resources, which its torchmetrics of 2022 imports


def _declare() -> Any:
    """What the index's torchvision lacks beside a CPU torch: the two operators it registers fallbacks for."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return torchvision
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    return library


_KEPT = _declare()  # as long as the process lives

from pytorch_adapt.hooks import AlignerHook, ClassifierHook, DANNHook, MCCHook  # noqa: E402
from pytorch_adapt.layers import CORALLoss, GradientReversal, MCCLoss  # noqa: E402
from pytorch_adapt.weighters import SumWeighter  # noqa: E402


@functools.cache
def tensors(domain: str, split: str, data: str) -> TensorDataset:
    x, y = arrays(domain, split, data)
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y))


class Flat(nn.Module):
    """A domain classifier whose one logit has no dimension of its own, which is how the hooks know it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.net(x).squeeze(1)
        return scores


def hook_of(job: Job, optimizers: list[Any]) -> tuple[Any, GradientReversal | None]:
    """The hook of a method, and what reverses the gradient in DANN."""
    if job.method == "dann":
        reverse = GradientReversal()
        halves = SumWeighter(weights={"src_domain_loss": 0.5, "target_domain_loss": 0.5})
        from pytorch_adapt.hooks.utils import ApplyFnHook

        names = ["src_imgs_features", "target_imgs_features"]
        turned = ApplyFnHook(fn=reverse, apply_to=names)
        return DANNHook(optimizers, weighter=halves, gradient_reversal=turned), reverse
    post = {
        "deep-coral": lambda: [AlignerHook(loss_fn=CORALLoss(), layer="features")],
        "mcc": lambda: [MCCHook(loss_fn=MCCLoss(T=TEMPERATURE))],
    }.get(job.method, list)()
    return ClassifierHook(optimizers, weighter=SumWeighter(), post=post), None


def fit(job: Job) -> nn.Sequential:
    model = network(job)
    models = {"G": model[0], "C": model[1]}
    if job.method == "dann":
        models["D"] = Flat(domain_classifier(job, model[1].in_features))  # type: ignore[arg-type]
    optimizer = adamw(*models.values())
    steps = job.source_steps if job.method == "linear-probe" else job.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: cosine(k, steps))
    hook, reverse = hook_of(job, [optimizer])
    own = job.target if job.method == "target-oracle" else job.source
    pool = "target" if job.method == "target-oracle" else "source"
    loaders = [_loader(own, job, pool, steps)]
    if job.method in ("deep-coral", "dann", "mcc"):
        loaders.append(_loader(job.target, job, "target_unlabelled", steps))
    for net in models.values():
        net.train()
    for step, found in enumerate(zip(*loaders, strict=True)):
        x, y = found[0]
        batch = {"src_imgs": x, "src_labels": y, "src_domain": torch.ones(len(x))}
        if len(found) > 1:
            seen = found[1][0]
            batch |= {"target_imgs": seen, "target_domain": torch.zeros(len(seen))}
        if reverse is not None:
            reverse.update_weight(reversal(step, steps))
        hook({**models, **batch})
        schedule.step()
    return model


def _loader(domain: str, job: Job, pool: str, steps: int) -> Any:
    data = tensors(domain, "train", job.data)
    return DataLoader(data, batch_sampler=Order(len(data), job.chance[pool], steps))


def accuracy(model: nn.Module, job: Job) -> float:
    model.eval()
    data, right = tensors(job.target, "test", job.data), 0
    with torch.no_grad():
        for x, y in DataLoader(data, batch_size=256):
            right += int((model(x).argmax(1) == y).sum())
    return right / len(data)


@functools.cache
def source_model(source: str, seed: int, line: str) -> nn.Module:
    """The backbone trained on a source: once for all its targets, as whoever writes one script for them would do it."""
    return fit(Job(**json.loads(line)))[0].eval()


def probed(job: Job) -> float:
    """Accuracy of a linear probe on the features of the source's backbone."""
    line = replace(job, target=job.source, chance={**job.chance, "subset": 0, "fit": 0}).to_json()
    net, found = source_model(job.source, job.seed, line), []
    for split in ("train", "test"):
        with torch.no_grad():
            parts = [(net(x), y) for x, y in DataLoader(tensors(job.target, split, job.data), batch_size=256)]
        found.append([torch.cat(part).numpy() for part in zip(*parts, strict=True)])
    return float(probe(*found[0]).score(*found[1]))


def main() -> None:
    torch.set_num_threads(1)
    for job in jobs_of(sys.argv[1]):
        began = time.process_time()
        score = probed(job) if job.method == "linear-probe" else accuracy(fit(job), job)
        print(json.dumps({"accuracy": score, "seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
