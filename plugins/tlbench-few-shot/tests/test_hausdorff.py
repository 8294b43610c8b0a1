"""Modified Hausdorff: the distance against SciPy, ink in whatever grey, and shapes that pixels do not tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from tlbench_few_shot.hausdorff import ModifiedHausdorff, ink, modified_hausdorff

from tlbench import Batch, SkipTrial
from tlbench.builtin.references import Scratch
from tlbench.testing import check_strategy, score

from .few_shot_toys import strokes, telling_directions


@pytest.mark.parametrize(("p", "q"), [(5, 8), (1, 4), (30, 2)])
def test_the_distance_is_the_larger_of_the_two_mean_nearest_distances(p: int, q: int) -> None:
    rng = np.random.default_rng(p)
    a, b = rng.normal(size=(p, 2)), rng.normal(size=(q, 2)) + 1
    gaps = cdist(a, b)
    expected = max(gaps.min(1).mean(), gaps.min(0).mean())
    one, other = torch.from_numpy(a), torch.from_numpy(b)
    assert float(modified_hausdorff(one, other)) == pytest.approx(expected)
    assert float(modified_hausdorff(other, one)) == pytest.approx(expected)
    assert float(modified_hausdorff(one, one)) == 0


def test_ink_is_the_rarer_side_whatever_the_greys_and_is_centred() -> None:
    image = torch.zeros(1, 6, 6)
    image[0, 1, 1:4] = 1
    light = ink(image, torch.tensor(0.5))
    np.testing.assert_array_equal(light.numpy(), [[0, -1], [0, 0], [0, 1]])
    for other, middle in ((1 - image, 0.5), (2 * image - 1, 0.0), (-3 * image.expand(3, 6, 6), -1.5)):
        assert torch.equal(ink(other, torch.tensor(middle)), light)


def test_a_blank_image_has_a_point_and_a_finite_distance() -> None:
    blank = ink(torch.zeros(1, 4, 4), torch.tensor(0.5))
    assert torch.equal(blank, torch.zeros(1, 2, dtype=torch.float64))


def test_a_class_scores_by_the_nearest_of_its_support_images() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy((rng.random((7, 1, 9, 9)) < 0.2).astype(np.float32))
    support = Batch(x[:4], torch.tensor([0, 0, 1, 1]))
    found = ModifiedHausdorff().adapt(support)(x[4:])
    points = [ink(image, torch.tensor(0.5)) for image in x]
    for i in range(3):
        gaps = [float(modified_hausdorff(points[4 + i], p)) for p in points[:4]]
        np.testing.assert_allclose(found[i].numpy(), [-min(gaps[:2]), -min(gaps[2:])], rtol=1e-6)


def test_strokes_that_moved_are_recognised_and_no_source_is_needed() -> None:
    assert score(ModifiedHausdorff(), strokes()) == 1.0
    assert score(Scratch(), strokes()) < 0.8
    assert ModifiedHausdorff.needs == {"episodes"}


def test_the_contract_holds() -> None:
    check_strategy(ModifiedHausdorff(), strokes())


def test_what_is_no_image_is_skipped_with_the_reason() -> None:
    with pytest.raises(SkipTrial, match="no images"):
        score(ModifiedHausdorff(), replace(telling_directions()))


def test_dark_ink_scores_as_light_ink_does() -> None:
    x = torch.from_numpy((np.random.default_rng(0).random((6, 1, 9, 9)) < 0.2).astype(np.float32))
    y: Any = torch.arange(3)
    method = ModifiedHausdorff()
    torch.testing.assert_close(method.adapt(Batch(x[:3], y))(x[3:]), method.adapt(Batch(1 - x[:3], y))(1 - x[3:]))
