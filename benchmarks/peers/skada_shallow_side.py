"""The jobs of the shallow methods by skada, on the pixels of the digits, all in one process.

    python benchmarks/peers/skada_shallow_side.py JOBS.json

A 1-nearest-neighbour classifier behind subspace alignment with 30 axes, behind CORAL with Ledoit & Wolf's estimate, and
by itself. skada's CORAL shrinks features of unit variance where tlbench's shrinks them as they are: a small difference.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from typing import Any

import numpy as np
from skada import CORALAdapter, SubspaceAlignmentAdapter, make_da_pipeline
from sklearn.neighbors import KNeighborsClassifier
from work import Job, arrays, jobs_of

SOURCE, TARGET = 1, -2
ADAPTERS = {
    "source-classifier": list,
    "subspace-alignment": lambda: [SubspaceAlignmentAdapter(n_components=30, random_state=0)],
    "coral": lambda: [CORALAdapter(reg="auto")],
}


@functools.cache
def pixels(domain: str, split: str) -> tuple[Any, Any]:
    """Grey values in [0, 1], float64 [N, 64], and labels."""
    x, y = arrays(domain, split, size=8)
    return (x.reshape(len(x), -1).astype(np.float64) + 1) / 2, y


def accuracy(job: Job) -> float:
    (source, y), (target, _) = (pixels(domain, "train") for domain in (job.source, job.target))
    x, domains = np.concatenate([source, target]), np.repeat([SOURCE, TARGET], [len(source), len(target)])
    shown = np.concatenate([y, np.full(len(target), -1)])
    pipeline = make_da_pipeline(*ADAPTERS[job.method](), KNeighborsClassifier(1, algorithm="brute"))
    pipeline.fit(x, shown, sample_domain=domains)
    test, truth = pixels(job.target, "test")
    guess = pipeline.predict(test, sample_domain=np.full(len(test), TARGET))
    return float((guess == truth).mean())


def main() -> None:
    for job in jobs_of(sys.argv[1]):
        began = time.process_time()
        score = accuracy(job)
        print(json.dumps({"accuracy": score, "seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
