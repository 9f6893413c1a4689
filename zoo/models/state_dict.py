"""Where a weights file keeps its tensors: how it begins, and what a training script puts around a state dict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

AVERAGED = ("state_dict_ema", "model_ema")
"""Keys of averaged weights that come before any other that speaks of an average."""
WRAPPERS = (
    "teacher", "state_dict", "model_state_dict", "model_state", "model", "net", "network", "backbone", "encoder", "student",
    "weights", "params", "module", "shadow",
)  # fmt: skip
"""Keys under which training scripts keep a state dict (Lightning, timm, DINO, MAE, MONAI), the best one first."""
DEEPEST = 3
"""Keys one below the other that are looked under: {"ema": {"state_dict": {"model": ...}}}."""
SAVED = (b"PK\x03\x04", b"\x80\x02")
"""How a file of `torch.save` begins: a zip archive, before torch 1.6 a pickle."""
LONGEST_HEADER = 100_000_000
"""Bytes of a safetensors file's header, above which safetensors reads none."""
_AVERAGE = re.compile(r"(?:.*[_.-])?ema(?:[_.-].*)?", re.IGNORECASE)


def is_safetensors(file: Path) -> bool:
    """Return whether a file is safetensors by what it begins with; by its name where that tells nothing."""
    with file.open("rb") as opened:
        start = opened.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER:
        return True
    return file.suffix == ".safetensors" and not start.startswith(SAVED)


def find_state_dict(content: Any) -> tuple[dict[str, Tensor], str]:
    """Return the tensors by name in what a file holds, and the keys they lay under, joined by points; empty: none.

    Averaged weights come before plain ones, unless there are less than half as many of them: then they are what an average
    keeps beside its weights, which lie elsewhere or bear no names.
    """
    found = list(_below(content, 0))
    most = max((len(tensors) for tensors, _, _ in found), default=0)
    averages = [(tensors, path) for tensors, path, averaged in found if averaged and 2 * len(tensors) >= most]
    plain = [(tensors, path) for tensors, path, averaged in found if not averaged]
    return next(iter(averages + plain), ({}, ""))


def tensors_of(content: Any) -> dict[str, Tensor]:
    """Return a mapping's tensors by name; empty for anything else."""
    if not isinstance(content, Mapping):
        return {}
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _below(content: Any, depth: int) -> Iterator[tuple[dict[str, Tensor], str, bool]]:
    """Yield tensors by name, the keys above them and whether they are an average, the best ones first."""
    if not isinstance(content, Mapping):
        return
    averages = [key for key in content if isinstance(key, str) and _AVERAGE.fullmatch(key) and key not in AVERAGED]
    found = [
        (tensors, f"{key}.{path}" if path else key, averaged or key in AVERAGED or key in averages)
        for key in ((*AVERAGED, *averages, *WRAPPERS) if depth < DEEPEST else ())
        for tensors, path, averaged in _below(content.get(key), depth + 1)
    ]
    # A state dict's own tensors come before what it wraps, a count of steps beside it does not.
    if own := tensors_of(content):
        first = depth > 0 and all(len(own) > len(tensors) for tensors, _, _ in found)
        found.insert(0 if first else len(found), (own, "", False))
    yield from found
