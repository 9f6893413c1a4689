"""The smallest member of each family, and every backbone named in conf/: forward, backward, save, load, export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from medzoo.data.registry import load_dataset
from medzoo.export.graph.onnx_file import export_onnx
from medzoo.settings.schema import LossConfig, ModelConfig, PreprocessConfig
from medzoo.store.checkpoint import WEIGHTS, checkpoint_files
from medzoo.store.storage import write_folder
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.families import task_from_config

CONF = Path(__file__).parents[3] / "conf"


def named_backbones() -> set[tuple[str, str, str]]:
    """Return (family, backbone, arguments in JSON) of every model and experiment in conf/."""
    models = {path.stem: yaml.safe_load(path.read_text()) for path in (CONF / "model").glob("*.yaml")}
    # Image–text models and concept bottlenecks have graphs of their own, and their own tests.
    models = {name: model for name, model in models.items() if model["family"] in ("cnn", "vit", "cnn3d", "slices")}
    found = {(m["family"], m["backbone"], json.dumps(m["arguments"], sort_keys=True)) for m in models.values()}
    for path in (CONF / "experiment").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        base = next(d["override /model"] for d in content["defaults"] if "override /model" in d)
        merged = {**models[base], **content.get("model", {})}
        found.add((merged["family"], merged["backbone"], json.dumps(merged["arguments"], sort_keys=True)))
    return found


SMALLEST = [
    ("cnn", "test_resnet", 32), ("vit", "test_vit", 160), ("vit", "zach_vit", 32), ("cnn3d", "resnet18_3d", 16),
    ("slices", "test_resnet", 32),
]  # fmt: skip


@pytest.mark.parametrize(("family", "backbone", "size"), SMALLEST)
def test_the_smallest_of_each_family(family: str, backbone: str, size: int, tmp_path: Path) -> None:
    arguments = {"width": 0.125} if family == "cnn3d" else {}
    passes(family, backbone, arguments, size, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("family", "backbone", "arguments"), sorted(named_backbones()), ids=lambda v: str(v)[:40])
def test_every_backbone_of_conf(family: str, backbone: str, arguments: str, tmp_path: Path) -> None:
    size: int | list[int] = {"vit": 224, "cnn3d": 16}.get(family, 32)
    if backbone == "swin_3d":
        size = [32, 32, 64]  # as in cubes of 64, three stages shift and pad their windows of 7
    passes(family, backbone, json.loads(arguments), size, tmp_path)


def passes(family: str, backbone: str, arguments: dict, size: int | list[int], folder: Path) -> None:
    volume = family in ("cnn3d", "slices")
    dataset = load_dataset("phantom", patients=12, size=24 if volume else 48, dims=3 if volume else 2)
    wanted = size if isinstance(size, list) else [size] * 3 if family == "cnn3d" else [4, size, size] if volume else size
    config = ModelConfig(
        family=family, backbone=backbone, arguments=arguments, small_stem=False, preprocess=PreprocessConfig(size=wanted)
    )
    if backbone not in ("resnet18", "resnet50", "test_resnet"):
        config.small_stem = None
    task = task_from_config(config, LossConfig(), dataset, seed=0)
    with torch.no_grad():
        for parameter in task.model.parameters():
            if parameter.numel() == 1 or parameter.std() == 0:  # zero-initialised residuals would hide what is behind them
                parameter.add_(0.1 * torch.randn_like(parameter))
    shape = (2, dataset.reader.shape[0], *task.spec.preprocess.size)
    batch = {"image": torch.randint(0, 256, shape, dtype=torch.uint8), "target": torch.eye(4)[:2]}
    task.train()
    task.training_step(batch)["loss"].backward()
    without = [name for name, p in task.model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not without, f"no gradient in {without[:5]}"
    task.eval()
    before = task.predict(batch)["logits"]
    saved = write_folder(folder, "checkpoint", checkpoint_files(task.spec, task.model.state_dict(), "{}"), "best")
    again = load_checkpoint(saved)
    assert (saved / WEIGHTS).is_file()
    assert torch.equal(again.predict(batch)["logits"], before)
    assert again.spec == task.spec
    rng = np.random.default_rng(0)
    native = dataset.reader.shape
    images = [rng.integers(0, 256, (*native[1:], native[0]), dtype=np.uint8) for _ in range(7)]
    report = export_onnx(again, folder / "model.onnx", images)
    assert report["parity"]["relative"] < 1e-3
    assert report["parity"]["agreement"] == 1
