"""The data set ``citation-network``: papers that cite one another, from MATLAB files."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tlbench import DataError, Domain, Graph, Seeds, Split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tlbench import Cache


@dataclass(frozen=True)
class CitationNetwork:
    """One of several networks of papers with words as attributes and topics as classes (Shen et al. 2020, ACDNE).

    ``folder`` has a file for each of ``networks``, with the variables ``network`` (adjacency [N, N]), ``attrb``
    (counts of words [N, A], of one vocabulary) and ``group`` (topics [N, C], 0 or 1). Citations count in both
    directions and once. Papers of exactly one topic are the examples: 94 % of acmv9, 98 % of citationv1, more of
    dblpv7. The others have no single label to be right about; they stay in the graph. The article scores all papers
    as a problem of several labels, so its numbers are not comparable.

    Relative paths are tried from the suite's folder, the data root and the data root's parent.
    """

    name: ClassVar[str] = "citation-network"

    network: str
    """Which of the networks."""
    folder: str = "features/citation_networks"
    """Where the ``.mat`` files are."""
    networks: tuple[str, ...] = ("acmv9", "citationv1", "dblpv7")
    """The networks whose papers are counted to choose the words, so that all of them have the same."""
    words: int = 1000
    """How many words are kept as attributes, those that most papers of all networks have; 0 keeps every one, which
    takes 4 bytes for each paper and word, and that several times."""
    scaling: Literal["l2", "row-sum", "none"] = "l2"
    """Each paper's counts divided by their Euclidean length, by their sum, or as they are."""
    test_share: float | None = None
    """The share of each topic set aside for testing, so that a target may have labels too. Left out, a network is
    whole: training and test papers are the same, for settings that see no label of the target."""

    def __post_init__(self) -> None:
        if self.network not in self.networks:
            raise ValueError(f"network must be one of networks ({', '.join(self.networks)}), got {self.network!r}")
        if self.words < 0:
            raise ValueError(f"words must not be negative, got {self.words}")
        if self.test_share is not None and not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be in (0, 1), got {self.test_share}")

    def load(self, cache: Cache) -> Domain:
        """Attributes float32 [N, A]. Raises ``DataError`` for missing and wrong files and for too little memory."""
        import json

        folder = _find(cache, self.folder)
        paths = {name: folder / f"{name}.mat" for name in self.networks}
        stamp = {name: _hash(path) for name, path in paths.items()}
        asked = {k: v for k, v in asdict(self).items() if k != "folder"}
        arrays = cache.arrays(json.dumps(["citation-network-1", stamp, asked]), lambda: self._build(cache, paths))
        splits = {
            split: Split(
                {"attributes": arrays[f"{split}/attributes"], "node": arrays[f"{split}/node"]}, arrays[f"{split}/y"]
            )
            for split in ("train", "test")
        }
        kept = f"the {self.words} most frequent words of {', '.join(self.networks)}" if self.words else "all words"
        parts = "train and test are the same papers" if self.test_share is None else f"{self.test_share:g} for testing"
        return Domain(
            name=self.network,
            splits=splits,
            label_names=tuple(f"topic {i + 1}" for i in range(int(arrays["topics"][0]))),
            kind="graph",
            source="citation networks extracted from ArnetMiner by Shen et al. 2020 (ACDNE)",
            notes=f"papers of exactly one topic, the others unlabelled in the graph; {kept}; scaling {self.scaling}; "
            f"{parts}",
            graph=Graph(arrays["graph/attributes"], arrays["graph/edges"]),
            whole=self.test_share is None,
        )

    def _build(self, cache: Cache, paths: Mapping[str, Path]) -> dict[str, NDArray[Any]]:
        import numpy as np
        import scipy.sparse as sp

        contents = {name: _read(path) for name, path in paths.items()}
        if len(widths := {c["attrb"].shape[1] for c in contents.values()}) > 1:
            raise DataError(f"{paths[self.network].parent}: networks of {sorted(widths)} attributes")
        papers_A = sum((np.asarray((c["attrb"] > 0).sum(0)).ravel() for c in contents.values()), np.zeros(1))
        # the most frequent first; of equals the first, so that the choice is the same everywhere
        columns = np.sort(np.argsort(-papers_A, kind="stable")[: self.words or None])
        content = contents[self.network]
        size = len(columns) * content["attrb"].shape[0] * 4
        cache.require_memory(3 * size, f"{paths[self.network]} with {len(columns)} words")
        x_NA = _scaled(content["attrb"][:, columns].toarray().astype(np.float32), self.scaling)
        network = sp.coo_array(content["network"])
        ends = np.stack([network.row, network.col]).astype(np.int64)
        ends = ends[:, ends[0] != ends[1]]
        edges_2E = np.unique(np.concatenate([ends, ends[::-1]], axis=1), axis=1)
        groups_NC = content["group"]
        nodes = np.flatnonzero(groups_NC.sum(1) == 1)
        y_N = groups_NC.argmax(1).astype(np.int64)
        parts = {"train": nodes, "test": nodes}
        if self.test_share is not None:
            tested = _stratified(y_N[nodes], self.test_share, self.network)
            parts = {"train": nodes[~tested], "test": nodes[tested]}
        out: dict[str, NDArray[Any]] = {"graph/attributes": x_NA, "graph/edges": edges_2E}
        for split, rows in parts.items():
            out |= {f"{split}/attributes": x_NA[rows], f"{split}/node": rows.copy(), f"{split}/y": y_N[rows]}
        return out | {"topics": np.array([groups_NC.shape[1]])}


def _find(cache: Cache, folder: str) -> Path:
    from pathlib import Path

    given = Path(folder).expanduser()
    roots = [cache.base, *([cache.data_root, cache.data_root.resolve().parent] if cache.data_root else [])]
    tried = [given] if given.is_absolute() else [root / given for root in roots]
    for candidate in tried:
        if candidate.is_dir():
            return candidate
    places = "".join(f"\n  {candidate}" for candidate in tried)
    raise DataError(f"citation-network: there is no folder {folder!r}. Tried:{places}")


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path) -> dict[str, Any]:
    """``network`` and ``attrb`` sparse, ``group`` dense."""
    import numpy as np
    import scipy.io
    import scipy.sparse as sp

    try:
        content = scipy.io.loadmat(path)
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        raise DataError(f"{path}: not read as a MATLAB file: {error}") from error
    if missing := {"network", "attrb", "group"} - set(content):
        raise DataError(f"{path}: no variable {', '.join(sorted(missing))}")
    group = content["group"]
    found = {
        "network": sp.csr_array(content["network"]),
        "attrb": sp.csr_array(content["attrb"]),
        "group": np.asarray(group.toarray() if sp.issparse(group) else group),
    }
    if len({len(found["group"]), found["attrb"].shape[0], *found["network"].shape}) > 1:
        raise DataError(f"{path}: network, attrb and group are of different numbers of papers")
    return found


def _scaled(x_NA: NDArray[Any], scaling: str) -> NDArray[Any]:
    import numpy as np

    if scaling == "none":
        return x_NA
    size = np.linalg.norm(x_NA, axis=1) if scaling == "l2" else x_NA.sum(1)
    scaled: NDArray[Any] = x_NA / np.where(size > 0, size, 1)[:, None]
    return scaled


def _stratified(y_N: NDArray[Any], share: float, name: str) -> NDArray[Any]:
    """Which rows are for testing: this share of each class, the same at every load."""
    import numpy as np

    tested = np.zeros(len(y_N), dtype=bool)
    rng = Seeds(0).generator("citation-network", name)
    for c in np.unique(y_N):
        rows = rng.permutation(np.flatnonzero(y_N == c))
        tested[rows[: max(1, round(share * len(rows)))]] = True
    return tested
