"""Two runs held against each other: all that a training goes on with, and its history."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from medzoo.store.checkpoint import tensors_from_file
from medzoo.store.storage import pointed_folder


def state(run: Path) -> dict[str, np.ndarray]:
    """Return all that a training goes on with, by name."""
    found = pointed_folder(run / "state", "latest")
    assert found is not None
    return {name: tensor.double().numpy() for name, tensor in tensors_from_file(found / "tensors.safetensors").items()}


def assert_same(run: Path, other: Path) -> None:
    """Compare weights, averages, what is learnt beside them, the optimizer's memory and the history."""
    ours, theirs = state(run), state(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], atol=1e-6, err_msg=name)
    for one, another in zip(*(list(csv.DictReader((path / "history.csv").open())) for path in (run, other)), strict=True):
        assert one.keys() == another.keys()
        for name, text in one.items():
            assert float(text or "nan") == pytest.approx(float(another[name] or "nan"), rel=1e-6, abs=1e-6, nan_ok=True), name
