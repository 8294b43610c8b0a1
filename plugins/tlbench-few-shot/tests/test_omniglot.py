"""Omniglot and Conv4: splits by people and by run, groups, ink, and the contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tlbench_few_shot
import torch
from tlbench_few_shot.conv4 import Conv4
from tlbench_few_shot.omniglot import Omniglot

from tlbench import DataError, Seeds, Shape, SkipTrial
from tlbench.builtin.tasks import FewShot
from tlbench.data.cache import DataCache
from tlbench.testing import check_backbone, check_dataset

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("name", "classes", "alphabets"), [("small1", 136, 5), ("small2", 156, 5)])
def test_a_background_set_is_split_by_people(name: Any, classes: int, alphabets: int, shared_data: Path) -> None:
    domain = check_dataset(Omniglot(set=name, size=14), data_root=shared_data / "hub")
    assert domain.num_classes == classes
    assert {n: np.bincount(s.y).tolist() for n, s in domain.splits.items()} == {
        "train": [15] * classes,
        "test": [5] * classes,
    }
    assert domain.shape.dims == (1, 14, 14)
    assert domain.groups is not None
    assert len(np.unique(domain.groups)) == alphabets
    of = {label.split("/")[0]: set() for label in domain.label_names}  # type: ignore[var-annotated]
    for label, group in zip(domain.label_names, domain.groups, strict=True):
        of[label.split("/")[0]].add(int(group))
    assert all(len(groups) == 1 for groups in of.values())


def test_the_number_of_test_drawings_is_a_parameter(shared_data: Path, tmp_path: Path) -> None:
    cache = DataCache(tmp_path, shared_data / "hub", tmp_path)
    one = Omniglot(size=14, test_drawers=1).load(cache)
    assert (len(one.splits["train"]), len(one.splits["test"])) == (19 * 136, 136)


def test_a_run_is_an_episode_of_twenty_ways_in_the_authors_split(shared_data: Path, tmp_path: Path) -> None:
    domain = check_dataset(Omniglot(set="oneshot"), data_root=shared_data / "hub")
    assert domain.num_classes == 400
    for split in domain.splits.values():
        assert np.array_equal(np.sort(split.y), np.arange(400))
    assert domain.groups is not None
    assert np.array_equal(domain.groups, np.repeat(np.arange(20), 20))
    task = FewShot(ways=20, shots=1, queries=1, episodes=20, within_groups=True)
    episodes = task.build(None, domain, Seeds(0), "last").episodes
    assert episodes is not None
    support = np.asarray(episodes.support.y)[episodes.support_rows]
    for e in range(20):
        assert set(support[e]) == set(range(20 * e, 20 * e + 20))
        assert np.array_equal(support[e], domain.splits["test"].y[episodes.query_rows[e]])
    assert not set(domain.label_names) & set(Omniglot().load(_cache(shared_data, tmp_path)).label_names)


def _cache(shared_data: Path, tmp_path: Path) -> DataCache:
    return DataCache(tmp_path, shared_data / "hub", tmp_path)


def test_ink_is_light_on_black_ground(shared_data: Path, tmp_path: Path) -> None:
    x = Omniglot(set="oneshot", size=105).load(_cache(shared_data, tmp_path)).splits["train"].x
    assert isinstance(x, np.ndarray)
    assert set(np.unique(x)) == {0, 255}
    assert 0.005 < (x == 255).mean() < 0.15
    assert float((x[:, 0, 0] == 0).mean()) > 0.95  # the upper edge


def test_where_the_images_are_not_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"omniglot: nobody/nothing cannot be read.*--data-root FOLDER"):
        Omniglot(id="nobody/nothing").load(DataCache(tmp_path, tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: Omniglot(size=0), "size must be at least 1, got 0"),
        (lambda: Omniglot(test_drawers=20), "test_drawers must be from 1 to 19, got 20"),
        (lambda: Conv4(size=8), "size must be at least 16.*got 8"),
        (lambda: Conv4(channels=2), "channels must be 1 or 3, got 2"),
        (lambda: Conv4(width=0), "width must be at least 1, got 0"),
    ],
)
def test_wrong_parameters_are_named(wrong: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wrong()


@pytest.mark.parametrize("backbone", [Conv4(), Conv4(size=84, channels=3, width=8)], ids=str)
def test_conv4_keeps_the_contract_of_backbones(backbone: Conv4) -> None:
    check_backbone(backbone)


@pytest.mark.parametrize(("size", "features"), [(28, 64), (84, 1600)])
def test_conv4_has_the_features_and_parameters_of_the_papers(size: int, features: int) -> None:
    net = Conv4(size=size).load(Shape("image", (1, size, size)))
    assert net.num_features == features
    assert net(torch.zeros(2, 1, size, size)).shape == (2, features)
    # four convolutions with bias and four BatchNorms of 64
    assert sum(p.numel() for p in net.parameters()) == (9 * 64 + 64) + 3 * (9 * 64 * 64 + 64) + 4 * 128


def test_conv4_takes_no_feature_vectors() -> None:
    with pytest.raises(SkipTrial, match="'conv4' takes images"):
        Conv4().load(Shape("features", (30,)))


def test_the_plugin_offers_all_its_parts() -> None:
    found = {
        kind.name
        for hook in ("strategies", "backbones", "datasets")
        for kind in getattr(tlbench_few_shot, f"tlbench_{hook}")()
    }
    assert found == {
        "baseline++", "bayes-one-shot", "conv4", "good-embedding", "maml", "modified-hausdorff", "omniglot", "protonet",
        "simpleshot",
    }  # fmt: skip
