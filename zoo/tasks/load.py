"""A checkpoint folder as a task with its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from medzoo.data.errors import CheckpointError
from medzoo.data.text.tokenizer import Tokenizer
from medzoo.models.build import _network
from medzoo.models.clip.model import build_clip
from medzoo.models.heads.bottleneck import BottleneckNetwork
from medzoo.models.trained import load_backbone
from medzoo.store.checkpoint import SPEC, WEIGHTS, load_weights, read_assets, tensors_from_file
from medzoo.store.spec import ModelSpec
from medzoo.tasks.bottleneck import Bottleneck
from medzoo.tasks.classify import Classify
from medzoo.tasks.contrast import TEXT_CONFIG_FILE, TOKENIZER_FILE, Contrast


def load_checkpoint(folder: Path, *, unfinished: bool = False) -> TrainableTask:
    """Rebuild a task with its weights, in evaluation mode, on the CPU.

    Args:
        folder: See `find_checkpoint`.
        unfinished: Take a concept bottleneck whose training was interrupted: its class layer may not be fitted yet.

    Raises:
        CheckpointError: If a file is missing or damaged, the weights are not the spec's, or training was interrupted before the
            last step of a concept bottleneck.
    """
    task = task_from_spec(ModelSpec.read(folder / SPEC), read_assets(folder))
    load_weights(task.model, tensors_from_file(folder / WEIGHTS), folder)
    if isinstance(task, Bottleneck) and not (task.model.finished or unfinished):
        raise CheckpointError(
            f"{folder}: training was interrupted before its last step, which fits the class layer to the concepts; go on with "
            "medzoo train resume=<run directory>"
        )
    task.eval()
    return task


TrainableTask = Classify | Contrast | Bottleneck


def task_from_spec(spec: ModelSpec, assets: Mapping[str, bytes] | None = None) -> TrainableTask:
    """Rebuild a task without its weights.

    Args:
        spec: The task's spec.
        assets: What its checkpoint holds beside weights and spec, by file name.

    Raises:
        CheckpointError: If this medzoo has no such task.
    """
    if spec.task == "contrast":
        return contrast_from_spec(spec, assets or {})
    if spec.task not in ("classify", "bottleneck") or spec.labels is None:
        raise CheckpointError(f"this medzoo has no task {spec.task!r}; update it")
    model = _network(spec)
    return Bottleneck(spec, model) if isinstance(model, BottleneckNetwork) else Classify(spec, model)


def bottleneck_from_weights(spec: ModelSpec, weights: Mapping[str, Tensor], seed: int = 0) -> Bottleneck:
    """Build a bottleneck on a network that is trained already.

    Args:
        spec: The bottleneck's.
        weights: State dict of the network; what it lacks of the last layer is fitted later.
        seed: Of what is not in `weights`.

    Raises:
        CheckpointError: If the weights are of another network.
    """
    model = _network(spec, seed=seed)
    assert isinstance(model, BottleneckNetwork)
    load_backbone(model.backbone, weights, spec.architecture)
    return Bottleneck(spec, model)


def contrast_from_spec(spec: ModelSpec, assets: Mapping[str, bytes]) -> Contrast:
    """Rebuild a task without its weights, from its spec and the checkpoint's assets.

    Raises:
        CheckpointError: If the tokenizer or the text tower's configuration is missing or damaged.
    """
    try:
        tokenizer = Tokenizer.from_dict(json.loads(assets[TOKENIZER_FILE]))
        text_config = json.loads(assets[TEXT_CONFIG_FILE]) if TEXT_CONFIG_FILE in assets else None
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the checkpoint's assets are missing or damaged ({type(error).__name__}: {error})") from None
    return Contrast(spec, build_clip(spec.arguments["open_clip"], text_config), tokenizer, text_config)
