"""Sending what the host has to a device without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the host goes on at once.

    By way of page-locked memory for a GPU: of other memory the driver takes more than 64 KB only when the device has done all it was
    given before (CUDA's "API synchronization behavior").
    """
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
