"""Checkpoints: `model.safetensors` + `spec.json` + `config.yaml`; all that rebuilding needs, and no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from medzoo.data.download import file_checksum
from medzoo.data.errors import CheckpointError
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import pointed_folder

WEIGHTS = "model.safetensors"
SPEC = "spec.json"
CONFIG = "config.yaml"
ASSETS = "assets"


def checkpoint_files(
    spec: ModelSpec, weights: dict[str, Tensor], config: str, assets: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """Return a checkpoint folder's content by file name: spec, state dict, the run's YAML, the task's assets (a tokenizer)."""
    return {
        WEIGHTS: tensors_to_bytes(weights, {"spec": spec.hash}),
        SPEC: spec.to_json().encode("utf-8"),
        CONFIG: config.encode("utf-8"),
        **{f"{ASSETS}/{name}": content for name, content in (assets or {}).items()},
    }


def tensors_to_bytes(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Serialise tensors to the safetensors format; tensors that share memory are stored apart."""
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    return safetensors.torch.save(plain, metadata)


def tensors_from_file(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU; CheckpointError if it is missing or damaged."""
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"no tensors at {path}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); use another checkpoint or train again") from error


def weights_checksum(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights, in hexadecimal: what predictions were made with."""
    return file_checksum(folder / WEIGHTS, "sha256")


def find_checkpoint(run_or_dir: str | Path, which: str = "best") -> Path:
    """Return a run directory's `best` or `last` checkpoint folder, or such a folder itself; CheckpointError if there is none."""
    root = Path(run_or_dir)
    if (root / WEIGHTS).is_file():
        return root
    if not root.is_dir():
        raise CheckpointError(f"no run directory at {root}")
    folder = pointed_folder(root / "checkpoints", which)
    if folder is None:
        raise CheckpointError(f"{root} has no {which!r} checkpoint; was it trained to the end of an epoch?")
    return folder


def read_assets(folder: Path) -> dict[str, bytes]:
    """Return the assets of a checkpoint or run folder by file name; empty without any."""
    return {path.name: path.read_bytes() for path in sorted((folder / ASSETS).glob("*")) if path.is_file()}


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Load weights strictly: every name and shape must agree, else a CheckpointError names the first that differs."""
    expected = model.state_dict()
    for name in sorted(set(expected) ^ set(weights)):
        raise CheckpointError(f"{source} does not fit the model: tensor {name!r} is {_where(name, expected)} only")
    for name, tensor in weights.items():
        if expected[name].shape != tensor.shape:
            raise CheckpointError(
                f"{source} does not fit the model: {name!r} is {list(tensor.shape)}, not {list(expected[name].shape)}"
            )
    with torch.no_grad():
        model.load_state_dict(weights)


def _where(name: str, expected: dict[str, Tensor]) -> str:
    return "in the model" if name in expected else "in the file"
