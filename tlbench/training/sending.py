"""Sending: small tensors from the host to the device, without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def sent(host: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. A copy from pageable memory would wait for all that the device was told before."""
    if device.type != "cuda" or host.is_cuda:
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)  # torch keeps the pinned memory until the copy is done
