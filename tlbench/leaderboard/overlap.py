"""Overlap: data sets of a board that its backbones were pre-trained on, by name and by declared origin.

Names are all that a record has: an overlap that no name gives away is not found, and one that is found is a hint to
look, not a proof.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tlbench.api.records import Record


class Overlap(NamedTuple):
    """``role`` is ``target`` or ``source``, ``data`` its label, ``shared`` the data set that both name."""

    backbone: str
    pretrained_on: str
    role: str
    data: str
    shared: str


SAME: Mapping[str, str] = {
    r"imagenet(1k|12k|21k|22k|2012)?|in(1k|12k|21k|22k)|ilsvrc(2012)?": "imagenet",
    r"inat(2017|2018|2019|2021|21)?|inaturalist(2017|2018|2019|2021)?": "inaturalist",
    # Subsets of ImageNet by their authors' word: fastai/imagenette; Coates, Ng & Lee 2011 (STL-10, its labelled part);
    # the hymenoptera set of PyTorch's transfer-learning tutorial.
    r"imagenette2?|imagewoof2?|stl10|tinyimagenet|hymenoptera": "imagenet",
}
"""Names of one data set, or of a part of it, as patterns of the whole compact name."""

DULL = frozenset({
    "and", "data", "dataset", "datasets", "digits", "face", "file", "folder", "form", "from", "hub", "hugging",
    "image", "images", "label", "labels", "model", "none", "of", "part", "pretrained", "revision", "set",
    "shipped", "small", "source", "table", "target", "test", "text", "the", "timm", "train", "weights",
})  # fmt: skip
"""Words that name no data set."""


def overlaps(records: Iterable[Record]) -> tuple[Overlap, ...]:
    """Each backbone and data set that share a name, once, in the order of the records."""
    seen: dict[tuple[Any, ...], None] = {}
    found: dict[Overlap, None] = {}
    for record in records:
        pretrained = record.data.get("pretrained_on")
        if not isinstance(pretrained, str) or not pretrained:
            continue
        backbone = str(record.trial["backbone"]["label"])
        for role in ("target", "source"):
            choice = record.trial.get(role)
            if not choice:
                continue
            said = record.data.get(role)
            origin = str(said.get("source") or "") if isinstance(said, dict) else ""
            at = (backbone, pretrained, role, choice["label"], repr(choice["params"]), origin)
            if at in seen:
                continue
            seen[at] = None
            shared = named(pretrained) & set().union(*(named(n) for n in _names(choice, origin)))
            if shared:
                found[Overlap(backbone, pretrained, role, str(choice["label"]), min(shared))] = None
    return tuple(found)


def named(text: str) -> set[str]:
    """The data sets that a text may name: its words, and neighbours joined (``cifar-10`` is ``cifar10``)."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    runs = {"".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}
    out = set()
    for run in runs - DULL:
        common = next((name for pattern, name in SAME.items() if re.fullmatch(pattern, run)), run)
        if len(common) >= 4 and not common.isdigit():
            out.add(common)
    return out


def _names(choice: Mapping[str, Any], origin: str) -> Iterator[str]:
    yield str(choice["label"])
    yield str(choice["name"])
    yield origin
    params = choice["params"]
    for key in ("id", "config", "folder", "path", "file"):
        if isinstance(params.get(key), str):
            yield re.split(r"[/\\]", params[key].rstrip("/"))[-1]
