"""The data set ``hub`` with some of its classes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlbench.builtin.hub import Hub
from tlbench.data.cache import DataCache
from tlbench.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.shared_data
def test_chosen_classes_keep_their_rows_and_get_new_numbers_in_the_order_given(
    shared_data: Path, tmp_path: Path
) -> None:
    cache = DataCache(tmp_path, shared_data / "hub", tmp_path)
    whole = Hub(id="flwrlabs/usps").load(cache)
    some = Hub(id="flwrlabs/usps", classes=(7, "0", 4)).load(cache)
    assert some.label_names == ("7", "0", "4")
    for split, given in whole.splits.items():
        found = some.splits[split]
        for new, old in enumerate((7, 0, 4)):
            assert np.array_equal(np.asarray(found.x)[found.y == new], np.asarray(given.x)[given.y == old])
        assert len(found) == np.isin(given.y, (7, 0, 4)).sum()
    assert some.name != whole.name


@pytest.mark.shared_data
def test_an_unknown_class_is_named_with_the_nearest_one(shared_data: Path, tmp_path: Path) -> None:
    hub = Hub(id="flwrlabs/usps", classes=("0", "11"))
    with pytest.raises(DataError, match="unknown class '11'"):
        hub.load(DataCache(tmp_path, shared_data / "hub", tmp_path))


@pytest.mark.parametrize("classes", [(3,), (3, 3)])
def test_fewer_than_two_classes_are_refused(classes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or more different classes"):
        Hub(id="a/b", classes=classes)
