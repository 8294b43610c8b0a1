"""From raw arrays to what a backbone sees, in the one way that ``InputTransform`` states.

Channels and size are done once for a whole domain and kept as 8-bit integers; values are scaled
batch by batch on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.data.rows import PIECE, Rows, cores, release

if TYPE_CHECKING:
    from tlbench.api.data import Array
    from tlbench.api.types import InputTransform

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def fits(x: Array, transform: InputTransform) -> bool:
    """Whether images [N, K, H, W] have the transform's channels and size already."""
    return tuple(x.shape[1:]) == (transform.channels, transform.size, transform.size)


def resize(x: Array, transform: InputTransform, out: Array | None = None) -> Array:
    """uint8 [N, K, H, W] -> uint8 [N, channels, size, size], into ``out`` where it is given: channels, then size.

    On all cores at hand, a few images at a time in each, so that little of either needs to be in memory.
    """
    if fits(x, transform):
        return x
    size = (transform.size, transform.size)
    if out is None:
        out = np.empty((len(x), transform.channels, *size), np.uint8)
    floats = 4 * (x[:1].size + out[:1].size)
    step = max(1, min(256, PIECE // max(1, floats)))

    def do(begin: int) -> None:
        part = torch.from_numpy(np.array(x[begin : begin + step])).float()
        part = _to_channels(part, transform.channels)
        if tuple(part.shape[2:]) != size:
            part = F.interpolate(part, size, mode="bilinear", align_corners=False, antialias=True)
        out[begin : begin + step] = part.round().clamp(0, 255).to(torch.uint8).numpy()

    threads = cores()
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(x), step * threads):
            list(pool.map(do, range(begin, min(begin + step * threads, len(x)), step)))
            release(x)
            release(out)
    return out


def _to_channels(x: Tensor, channels: int) -> Tensor:
    if x.shape[1] == channels:
        return x
    if x.shape[1] == 1:
        return x.expand(-1, channels, -1, -1)
    if x.shape[1] == 3 and channels == 1:
        return (x * x.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    raise ValueError(f"no rule from {x.shape[1]} to {channels} channels; tlbench knows 1 -> n and 3 -> 1")


def scaling(transform: InputTransform | None, device: torch.device) -> Callable[[Any], Any]:
    """The last part of the transform, for a batch on the device: uint8 -> (x / 255 - mean) / std.

    Floats and integers of other kinds pass as they are; so does everything without a transform, except
    that uint8 becomes float32 in [0, 1].
    """
    mean, std = torch.tensor(0.0, device=device), torch.tensor(1.0, device=device)
    if transform is not None:
        mean = torch.tensor(transform.mean, device=device)[:, None, None]
        std = torch.tensor(transform.std, device=device)[:, None, None]
    slope, offset = 1 / (255 * std), mean / std

    def scale(x: Any) -> Any:
        if isinstance(x, Mapping):
            return {k: scale(v) for k, v in x.items()}
        return x.float().mul_(slope).sub_(offset) if x.dtype == torch.uint8 else x

    return scale


def to_tensors(x: Array | Rows | Mapping[str, Array], device: torch.device) -> Any:
    """Arrays, memory-mapped or not, as tensors on the device; never shares memory with a file."""
    if isinstance(x, Mapping):
        return {k: to_tensors(v, device) for k, v in x.items()}
    if isinstance(x, Rows):  # no second copy in memory, and the file from its beginning to its end
        out = torch.empty(x.shape, dtype=torch.from_numpy(np.empty(0, x.dtype)).dtype, device=device)
        step = max(1, PIECE // max(1, x[:1].nbytes))
        for begin in range(0, len(x), step):
            places = x.order[begin : begin + step]
            out[torch.from_numpy(places).to(device)] = torch.from_numpy(x.read(places)).to(device)
        return out
    return torch.from_numpy(np.array(x)).to(device)
