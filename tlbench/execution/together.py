"""Together: episodes scored many at once, for what adapts without changing its network.

Episodes share examples, so that each distinct one passes the network once; and what is solved for an episode is solved
for many in one call. Memory is bounded: of features kept, and of those handed over at once.

Dimension key:  E episodes  N support examples  Q queries  D features  W ways  U distinct examples
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlbench.api.types import Batch
from tlbench.data.inputs import to_tensors
from tlbench.errors import TrialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tlbench.api.data import Array, Pool, Problem
    from tlbench.api.types import AdaptsAll
    from tlbench.evaluation.predict import Conditions

CHUNK = 256
"""Examples embedded at once."""
KEPT_BYTES = 2**29
"""Most bytes of features that are kept; where all episodes have more, groups of them share by themselves."""
AT_ONCE_BYTES = 2**24
"""Most bytes of features, of support and queries, that are handed over at once."""


def scores_together(
    adaptable: AdaptsAll, problem: Problem, conditions: Conditions, indices: Sequence[int]
) -> Iterator[Array]:
    """Scores float32 [Q, W] of the queries of each of these episodes, in this order.

    Support sets are embedded as ``adapt`` would find them and queries as a predictor would, under the precision of
    ``conditions``. Raises ``TrialError`` where features or scores have another shape, or scores are not finite.
    """
    assert problem.episodes is not None
    episodes, shape, device = problem.episodes, problem.episodes.shape, conditions.device
    support_EN, query_EQ = (rows[list(indices)] for rows in (episodes.support_rows, episodes.query_rows))
    labels_N = torch.arange(shape.ways, device=device).repeat_interleave(shape.shots)

    def embedded(x: object) -> Tensor:
        with torch.no_grad():
            return adaptable.embed(x)

    def predicted(function: Callable[[object], Tensor], x: object) -> Tensor:
        with torch.no_grad(), conditions.cast():
            return function(x)

    one = embedded(_inputs(episodes.support, support_EN[0, :1], conditions))
    size = one.numel() * max(one.element_size(), 4)  # an example's
    for group in _groups(support_EN, query_EQ, KEPT_BYTES // size):
        known = _Features.of(episodes.support, support_EN[group], conditions, embedded)
        asked = _Features.of(problem.test["target"], query_EQ[group], conditions, lambda x: predicted(embedded, x))
        at_once = max(1, AT_ONCE_BYTES // (size * (known.place.shape[1] + asked.place.shape[1])))
        for begin in range(0, len(known.place), at_once):
            support_END, query_EQD = (f.of_episodes(slice(begin, begin + at_once)) for f in (known, asked))
            batch = Batch(support_END, labels_N.expand(len(support_END), -1))
            scores = predicted(adaptable.adapt_all(batch), query_EQD)
            yield from _checked(scores, (*query_EQD.shape[:2], shape.ways))


class _Features(NamedTuple):
    """Features of distinct examples, and where those of each episode are."""

    values: Tensor
    """[U, D]"""
    place: Tensor
    """int64 [E, N]"""

    @classmethod
    def of(cls, pool: Pool, rows_EN: Array, conditions: Conditions, embed: Callable[[object], Tensor]) -> _Features:
        distinct_U, place = np.unique(rows_EN, return_inverse=True)
        parts = []
        for begin in range(0, len(distinct_U), CHUNK):
            rows = distinct_U[begin : begin + CHUNK]
            parts.append(embed(_inputs(pool, rows, conditions)))
            if parts[-1].dim() != 2 or len(parts[-1]) != len(rows):
                raise TrialError(
                    f"embed() gave features of shape {list(parts[-1].shape)}; expected [B, D] with B = {len(rows)}"
                )
        return cls(torch.cat(parts), torch.from_numpy(place.reshape(rows_EN.shape)).to(conditions.device))

    def of_episodes(self, chosen: slice) -> Tensor:
        """[E, N, D]"""
        place_EN = self.place[chosen]
        return self.values.index_select(0, place_EN.flatten()).view(*place_EN.shape, -1)


def _groups(support_EN: Array, query_EQ: Array, most: int) -> Iterator[slice]:
    """All episodes where their distinct examples are at most so many, else runs of few enough."""
    count, each = len(support_EN), support_EN.shape[1] + query_EQ.shape[1]
    fits = count * each <= most or sum(len(np.unique(rows)) for rows in (support_EN, query_EQ)) <= most
    step = count if fits else max(1, most // each)
    for begin in range(0, count, step):
        yield slice(begin, begin + step)


def _checked(scores: Tensor, expected: tuple[int, ...]) -> Iterator[Array]:
    """The scores [Q, W] of each episode."""
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
        got = f"scores of shape {list(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise TrialError(f"what adapt_all() returned gave {got}; expected [E, Q, W] = {list(expected)}")
    whole: Array = np.ascontiguousarray(scores.float().cpu().numpy())
    if not np.isfinite(whole).all():
        bad = int((~np.isfinite(whole)).any(-1).sum())
        raise TrialError(
            f"the predictor gave scores that are not finite for {bad} of {expected[0] * expected[1]} examples"
        )
    yield from whole


def _inputs(pool: Pool, rows: Array, conditions: Conditions) -> object:
    x = {k: v[rows] for k, v in pool.x.items()} if isinstance(pool.x, Mapping) else pool.x[rows]
    return conditions.scale(to_tensors(x, conditions.device))
