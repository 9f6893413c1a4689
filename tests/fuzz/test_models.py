"""Models' files, damaged at random: an ONNX file, weights, a spec, a configuration end in an answer or in one line."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medzoo.data.errors import MedzooError
from medzoo.export.runtime.model import OnnxModel
from medzoo.models.weights_file import read_weights_file
from medzoo.settings.compose import compose_config
from medzoo.store.checkpoint import SPEC, WEIGHTS, find_checkpoint, tensors_from_file
from medzoo.store.spec import ModelSpec

COUNT = int(os.environ.get("MEDZOO_FUZZ", "400"))
"""Damaged files of each kind."""
WORDS = [
    b"NaN",
    b"null",
    b"-1",
    b"1e999",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"99999999999999999999",
    b"\x00",
    b"\xff\xfe",
    b"!!python/x",
]


def damaged(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield copies with bytes flipped, a part cut out, the end cut off, a word put over a place, or a part repeated."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            # Headers are short beside the numbers that follow them: half of the damage is done there.
            place = rng.randrange(min(len(data), 2048) if rng.random() < 0.5 else len(data)) if data else 0
            kind = rng.randrange(5)
            if kind == 0 and data:
                data[place] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del data[place : place + rng.randrange(1, 64)]
            elif kind == 2:
                del data[place:]
            elif kind == 3:
                word = rng.choice(WORDS)
                data[place : place + len(word)] = word
            else:
                data[place:place] = data[place : place + rng.randrange(1, 32)]
        yield bytes(data)


def survives(use: Callable[[Path], object], path: Path, contents: Iterator[bytes]) -> int:
    """Use each damaged file; return how many were refused. Anything but a value or one line fails the test."""
    lines = []
    for number, content in enumerate(contents):
        path.write_bytes(content)
        try:
            use(path)
        except MedzooError as error:
            lines.append(str(error))
        except Exception as error:
            raise AssertionError(f"input {number} ends in {type(error).__name__}: {error}") from error
    assert not [line for line in lines if "\n" in line]
    return len(lines)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_onnx_files(exported: Path, tmp_path: Path) -> None:
    content = exported.read_bytes()
    refused = survives(lambda path: OnnxModel(path, provider="cpu"), tmp_path / "model.onnx", damaged(content, COUNT, 1))
    assert refused > 0.9 * COUNT  # the checksum sees whatever the format does not


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_others(suffix: str, tmp_path: Path) -> None:
    tensors = {"conv.weight": torch.rand(4, 3, 3, 3), "bn.running_mean": torch.zeros(4), "fc.bias": torch.ones(2)}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": tensors, "epoch": 3}, path)
    else:
        save_file(tensors, path)
    assert survives(read_weights_file, path, damaged(path.read_bytes(), COUNT, 2)) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_checkpoints(trained_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(find_checkpoint(trained_run), folder)
    spec = (folder / SPEC).read_bytes()
    assert survives(ModelSpec.read, tmp_path / SPEC, damaged(spec, COUNT, 3)) > 0
    weights = (folder / WEIGHTS).read_bytes()
    assert survives(tensors_from_file, tmp_path / WEIGHTS, damaged(weights, COUNT // 5, 4)) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_yaml_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    content = b"defaults: [table, _self_]\nfile: labels.csv\ntarget: [a, b]\nwindow: [0, 255]\nunits: {a: mm}\n"
    use = lambda path: compose_config("verify", ["data=mine"], tmp_path)  # noqa: E731
    count = max(COUNT // 5, 1)  # each is composed by Hydra
    assert survives(use, tmp_path / "data" / "mine.yaml", damaged(content, count, 5)) > 0
