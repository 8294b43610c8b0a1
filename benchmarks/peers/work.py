"""The work that all sides do: runs with their data, network, schedule and chance, as plain values and arrays.

A run is a JSON object that `run.py` makes from tlbench's own plan, so that each side draws the initial weights, the
labelled examples and, where it lets one choose, the order of the batches exactly as tlbench does.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tlbench.api.data import Shape
from tlbench.builtin.digits import Digits
from tlbench.builtin.small_backbones import SmallCNN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLASSES, BATCH, LR, DECAY = 10, 64, 1e-3, 1e-4
HIDDEN, GAMMA, TEMPERATURE = 64, 10.0, 2.5
"""Of DANN's domain classifier and its factor, and of MCC."""


@dataclass(frozen=True)
class Job:
    """One run; ``method`` is a strategy's label in the suites of ``matrices.py``.

    ``source`` and ``target`` are shifts of the digits, with the angle or the noise behind a colon where it is not the
    default, or ``mnist`` and ``usps``; ``chance`` holds tlbench's seeds: init, head, fit, subset, order of each pool.
    """

    method: str
    source: str
    target: str
    seed: int
    steps: int
    source_steps: int
    labels: int
    width: int
    chance: Mapping[str, int]
    data: str = ""
    """Where mnist and usps lie."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def name(self) -> tuple[str, str, str, int]:
        return self.method, self.source, self.target, self.seed


def jobs_of(path: str | Path) -> list[Job]:
    return [Job(**json.loads(line)) for line in Path(path).read_text().splitlines()]


# ---- data ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raw:
    """Images as they are kept, uint8 [H, W] or PNG bytes, and labels int64 [N]."""

    images: Any
    y: np.ndarray[Any, Any]

    def pixels(self, row: int) -> Any:
        """One image as Pillow has it."""
        import PIL.Image

        found = self.images[row]
        return PIL.Image.open(io.BytesIO(found)) if isinstance(found, bytes) else PIL.Image.fromarray(found)


def raw(domain: str, split: str, data: str = "") -> Raw:
    """A split of a domain; the digits are made on the spot, mnist and usps are read from their parquet files."""
    if domain in ("mnist", "usps"):
        import pyarrow.parquet

        folder = Path(data) / {"mnist": "ylecun/mnist", "usps": "flwrlabs/usps"}[domain]
        table = pyarrow.parquet.read_table(sorted(folder.rglob(f"*{split}*.parquet")))
        return Raw([i["bytes"] for i in table["image"].to_pylist()], np.array(table["label"], dtype=np.int64))
    shift, _, amount = domain.partition(":")
    more = {{"rotated": "angle", "noisy": "noise"}[shift]: float(amount)} if amount else {}
    cache: Any = Path()  # the digits keep nothing
    found = Digits(shift=shift, **more).load(cache).splits[split]  # type: ignore[arg-type]
    return Raw(found.x[:, 0], found.y)  # type: ignore[index]


def budget(y: np.ndarray[Any, Any], labels: int, seed: int) -> np.ndarray[Any, Any]:
    """The rows of so many labelled examples of each class, in the order of one permutation of all."""
    order = np.random.default_rng(seed).permutation(len(y))
    chosen = np.zeros(len(y), dtype=bool)
    for label in range(CLASSES):
        chosen[order[y[order] == label][:labels]] = True
    return order[chosen[order]]


def normalised(x: Any) -> torch.Tensor:
    """Grey values 0 to 255 as float32 in [-1, 1]."""
    return torch.from_numpy(np.array(x)).float().div(255).sub(0.5).div(0.5)


def arrays(domain: str, split: str, data: str = "", size: int = 16) -> tuple[np.ndarray[Any, Any], Any]:
    """A whole split as float32 [N, 1, size, size] and int64 [N], resized by Pillow: for those who take arrays."""
    found = raw(domain, split, data)
    return np.stack([resized(found, row, size).numpy() for row in range(len(found.y))]), found.y


def resized(found: Raw, row: int, size: int) -> torch.Tensor:
    """One example, float32 [1, size, size]."""
    import PIL.Image

    return normalised(found.pixels(row).resize((size, size), PIL.Image.Resampling.BILINEAR))[None]


def probe(x_ND: np.ndarray[Any, Any], y_N: np.ndarray[Any, Any]) -> Any:
    """Logistic regression on standardised features, C from seven values by five folds: what linear-probe is."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    grid = {"logisticregression__C": np.geomspace(1e-4, 1e2, 7).tolist()}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return GridSearchCV(pipeline, grid, cv=StratifiedKFold(5), scoring="accuracy").fit(x_ND.astype(np.float64), y_N)


class Order:
    """Batches of rows: a fresh permutation for each epoch from (seed, epoch), the rest that fills no batch left out."""

    def __init__(self, size: int, seed: int, steps: int) -> None:
        self.size, self.seed, self.steps = size, seed, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        batch = min(BATCH, self.size)
        for step in range(self.steps):
            epoch, k = divmod(step, self.size // batch)
            if k == 0:
                order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
            yield order[k * batch : (k + 1) * batch].tolist()


# ---- model and optimiser -------------------------------------------------------------------------


def network(job: Job) -> nn.Sequential:
    """Backbone and head from the job's seeds; grey images [B, 1, 16, 16] -> scores [B, 10]."""
    torch.manual_seed(job.chance["init"])
    backbone = SmallCNN(size=16, channels=1, width=job.width).load(Shape("image", (1, 8, 8)))
    return nn.Sequential(backbone, fresh_head(job, backbone.num_features))


def fresh_head(job: Job, width: int) -> nn.Linear:
    torch.manual_seed(job.chance["head"])
    return nn.Linear(width, CLASSES)


def domain_classifier(job: Job, width: int) -> nn.Sequential:
    """Features [B, D] -> one logit [B, 1]."""
    torch.manual_seed(job.chance["fit"])
    layers = [nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)]
    return nn.Sequential(*layers)


def adamw(*modules: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser, as `torch.optim` gives it."""
    return torch.optim.AdamW([p for m in modules for p in m.parameters()], lr=LR, weight_decay=DECAY)


def cosine(step: int, steps: int) -> float:
    """Factor of the rate."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def reversal(step: int, steps: int) -> float:
    """DANN's factor of the reversed gradient at a step of so many."""
    return 2 / (1 + math.exp(-GAMMA * step / steps)) - 1
