"""Training episodes: their classes, their labels, and that they depend on seed and step alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tlbench.api.data import Episodes
from tlbench.api.types import Batch
from tlbench.errors import TrialError
from tlbench.training.streams import EpisodeStream, Stream

X = torch.arange(60, dtype=torch.float32)[:, None]
Y = torch.arange(60) % 6


def stream(episodes: Episodes, **more: object) -> EpisodeStream:
    return EpisodeStream(X, Y, episodes, seed=3, scale=lambda x: x, **more)  # type: ignore[arg-type]


def test_an_episode_is_class_by_class_with_no_query_in_its_support() -> None:
    e = Episodes(ways=4, shots=2, queries=3, count=5)
    batch = stream(e).batch(0)
    assert batch.support.x.shape == (5, 8, 1)
    assert batch.query.x.shape == (5, 12, 1)
    assert batch.support.y[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for k in range(5):
        support, query = batch.support.x[k, :, 0].long(), batch.query.x[k, :, 0].long()
        assert set(support.tolist()).isdisjoint(query.tolist())
        classes = Y[support].reshape(4, 2)
        assert (classes[:, 0] == classes[:, 1]).all()
        assert (Y[query].reshape(4, 3) == classes[:, :1]).all()
        assert len(set(classes[:, 0].tolist())) == 4


def test_a_batch_of_episodes_depends_on_seed_and_step_alone() -> None:
    e = Episodes(ways=3, shots=1, queries=2)
    first, again = stream(e), stream(e)
    assert torch.equal(first.batch(7).query.x, again.batch(7).query.x)
    assert torch.equal(first.batch(7).support.x, first.batch(7).support.x)
    assert not torch.equal(first.batch(7).query.x, first.batch(8).query.x)


def test_too_few_classes_of_that_size_are_refused_with_the_numbers() -> None:
    with pytest.raises(TrialError, match=r"needs 7 classes of 3 examples; the pool source has 6"):
        stream(Episodes(ways=7, shots=1, queries=2))
    with pytest.raises(TrialError, match="has 0 of them"):
        stream(Episodes(ways=2, shots=8, queries=8))


def test_changes_come_after_scaling_and_draw_from_seed_and_step() -> None:
    def jitter(batch: Batch, generator: torch.Generator) -> Batch:
        return Batch(batch.x + torch.rand(len(batch.x), 1, generator=generator), batch.y)

    plain = Stream(X, Y, batch_size=8, seed=1, scale=lambda x: 2 * x)
    noisy = [Stream(X, Y, batch_size=8, seed=1, scale=lambda x: 2 * x, changes=(jitter,)) for _ in range(2)]
    assert torch.equal(noisy[0].batch(4).x, noisy[1].batch(4).x)
    moved = noisy[0].batch(4).x - plain.batch(4).x
    assert ((moved >= 0) & (moved < 1)).all()
    assert not torch.equal(moved, noisy[0].batch(5).x - plain.batch(5).x)
    assert np.array_equal(noisy[0].batch(4).y, plain.batch(4).y)
