"""ResNet-20 with published weights on CIFAR-10 test images: backbone, weights and data are what they say they are.

Published is 91.73 % on all 10,000 test images. The 1,000 test images at hand are a sample of those, so the verdict
allows two standard errors of a share of 1,000 (1.7 points). The same network at random weights must be at chance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from report import Row, hub_of, parse, publish

from tlbench import Shape
from tlbench.builtin.hub import Hub
from tlbench.builtin.resnet_cifar import MEAN, STD, ResNetCifar
from tlbench.data.cache import DataCache


def main() -> int:
    args = parse(__doc__, lambda p: p.add_argument("--weights", type=Path, help="default: DATA_ROOT/../weights"))
    hub = hub_of(args.data_root)
    folder = args.weights or hub.parent / "weights"
    args.weights = None  # the default; a path of one machine says nothing to another
    cache = DataCache(Path(".cache-reproduce"), hub, Path(), None)
    test = Hub(id="uoft-cs/cifar10").load(cache).splits["test"]
    x = torch.from_numpy(np.array(test.x)).float() / 255
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

    def accuracy(backbone: ResNetCifar, head: torch.nn.Linear | None) -> float:
        net = backbone.load(Shape("image", (3, 32, 32))).eval()
        classifier = net.own_head() or head
        assert classifier is not None
        with torch.no_grad():
            scores = torch.cat([classifier(net(part)) for part in x.split(250)])
        return float(100 * (scores.argmax(1).numpy() == test.y).mean())

    torch.manual_seed(0)
    trained = accuracy(ResNetCifar(checkpoint=str(folder / "resnet20.cifar10" / "model.safetensors")), None)
    untrained = accuracy(ResNetCifar(), torch.nn.Linear(64, 10))
    rows = [
        Row("ResNet-20, published weights", 91.73, trained, tolerance=1.7, note=f"n = {len(test)}"),
        Row("ResNet-20, random weights", None, untrained, band=(5.0, 20.0)),
    ]
    source = "akamaster/pytorch_resnet_cifar10, README (error 8.27 %); He et al. 2016"
    return publish("C18: ResNet-20 on CIFAR-10", rows, args, source=source, notes=(__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    raise SystemExit(main())
