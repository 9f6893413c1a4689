"""The smallest member of every family, trained on the GPU by the real command line; once a session, whatever the workers."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from medzoo.cli import main
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.inference.predict import run_dataset
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from tests.zoo.models.clip.clip_folder import write_folder

PHANTOM = ("data=phantom", "data.size=32", "data.patients=40")
VOLUME = ("data=phantom", "data.size=16", "data.dims=3", "data.patients=40")
STEPS = ("trainer.epochs=2", "trainer.batch_size=32")
PRECISIONS = ("no", "bf16", "fp16")
UNFILTERED = ("model.bottleneck.filter.class_similarity=1.01", "model.bottleneck.filter.concept_similarity=1.01")
"""To a text tower of two epochs all concepts are alike."""


@dataclass(frozen=True)
class Family:
    """What a family is trained by.

    Attributes:
        model: Its words of the command line.
        data: Those of its dataset.
        steps: Those of its loop; none where nothing is learnt by steps, and then nothing in mixed precision.
        base: The family whose run its network comes from.
        towers: Whether it exports an image–text model's files.
        teacher: The family whose run it learns from, beside its labels.
    """

    model: tuple[str, ...]
    data: tuple[str, ...] = PHANTOM
    steps: tuple[str, ...] = STEPS
    base: str | None = None
    towers: bool = False
    teacher: str | None = None


FAMILIES = {
    "cnn": Family(("model.backbone=test_resnet", "trainer.metrics=true", "trainer.ema=0.9")),
    "vit": Family(("model=vit", "model.backbone=test_vit")),
    "zach_vit": Family(("model=zach_vit", "model.preprocess.size=32")),
    "cnn3d": Family(("model=cnn3d", "+model.arguments.width=0.125"), VOLUME),
    "slices": Family(("model=slices", "model.backbone=test_resnet"), VOLUME),
    "ordinal": Family(("model.backbone=test_resnet", "data.labels=ordinal", "loss=cumulative")),
    "multilabel": Family(("model.backbone=test_resnet", "data.labels=multilabel", "loss.positive_weights=balanced")),
    "regression": Family(("model.backbone=test_resnet", "data.labels=regression", "trainer.mixup=0.2")),
    "views": Family(("model.backbone=test_resnet", "model.preprocess.size=32"), ("data=table", "CASES")),
    "cbm": Family(("model=cbm", "model.backbone=test_resnet")),
    "cbm_sequential": Family(("model=cbm", "model.backbone=test_resnet", "model.bottleneck.regime=sequential")),
    "cbm_embedding": Family(("model=cbm", "model.backbone=test_resnet", "model.bottleneck.kind=embedding")),
    "cbm_posthoc": Family(("model=cbm_posthoc",), steps=(), base="cnn"),
    "cbm_language": Family(("model=cbm_language", *UNFILTERED), steps=(), base="clip"),
    "probe": Family(("model.backbone=test_resnet", "trainer.finetune=linear"), steps=()),
    "neighbours": Family(("model.backbone=test_resnet", "model.neighbours=5"), steps=()),
    "clip": Family(("model=clip", "model.captions=labels"), steps=("trainer.epochs=12", "trainer.batch_size=32"), towers=True),
    "clip_bert": Family(("model=clip", "model.captions=labels", "BERT"), towers=True),
    "clip_image": Family(("model=clip_image", "trainer.finetune=linear"), base="clip"),
    "clip_volumes": Family(
        (
            "model=clip",
            "model.captions=labels",
            "model.slices=attention",
            "model.image_tower=test_resnet",
            "model.preprocess.size=[8,32,32]",
        ),
        VOLUME,
        towers=True,
    ),
    "recomputed": Family(("model=vit", "model.backbone=test_vit", "trainer.checkpoint_activations=true")),
    "group_dro": Family(
        ("model.backbone=test_resnet", "loss.group={column: stripes, cells: true}", "trainer.sampling=groups"),
        (*PHANTOM, "data.labels=binary", "data.confounder=0.9"),
    ),
    "fair_scaling": Family(
        ("model.backbone=test_resnet", "loss.group={column: stripes, how: fis}"),
        (*PHANTOM, "data.labels=binary", "data.confounder=0.9"),
    ),
    "distilled": Family(("model=vit", "model.backbone=test_vit", "trainer.distill={features: 0.5}"), teacher="cnn"),
}
"""Families that answer of an image, or of several of one kind."""
BESIDE = (*PHANTOM, "data.modalities=[image,second]", "data.inputs=[flag,category]", "data.texts=[note]", "data.absent=0.2")
JOINED = {
    "simclr": Family(("model=ssl", "model.backbone=test_resnet")),
    "dino": Family(("model=ssl", "model.backbone=test_resnet", "model.ssl.objective=dino")),
    "mae": Family(("model=ssl", "model.family=vit", "model.backbone=test_vit", "model.ssl.objective=mae")),
    "fusion": Family(("model=fusion", "model.backbone=test_resnet", "model.small_stem=true"), BESIDE),
    "bags": Family(("model.backbone=test_resnet", "model.preprocess.size=32", "model.pool=attention"), ("data=table", "CASES")),
    "targets": Family(("model.backbone=test_resnet",), (*PHANTOM, "data.targets=[multiclass,regression,multilabel]")),
}
"""Families whose samples are more than an image, or that answer something else than one question (tests/gpu/test_joined.py)."""
LEARN_BY_STEPS = tuple(name for name, family in FAMILIES.items() if family.steps)
ONE_FILE = tuple(name for name, family in FAMILIES.items() if not family.towers)
SMOOTH = tuple(name for name in FAMILIES if name != "neighbours")
"""Families whose answers change little with the last digits of the features: a vote of neighbours is a step."""
STANDARDISED = ("cbm_posthoc", "cbm_language", "probe")
"""Families whose layers see features in units of their spread, which is small beside their size after two epochs."""


def within(limit: float, family: str) -> float:
    """Return the largest distance that a family may have where the features of most keep to a limit.

    Rounding every product of a network to TF32 on a CPU moves the outputs of the standardised ones by 0.006 to 0.05, and those
    of all others by 0.0014 at most.
    """
    return 20 * limit if family in STANDARDISED else limit


class Trained:
    """Runs of this session, each made by the first test that asks for it; every worker of pytest-xdist finds it there.

    Args:
        folder: Shared by all workers.
        device: Where they are trained.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device

    def __call__(self, family: str, precision: str = "no") -> Path:
        """Return a family's run: trained and evaluated on the device, and exported if its precision is `no`.

        None may change it. `facts.json` in it holds what training took of the device's memory, in bytes.
        """
        run = self.folder / f"{family}-{precision}"
        with FileLock(run.with_suffix(".lock")):
            if not (run / "facts.json").is_file():
                if run.exists():
                    pytest.fail(f"{run.name} could not be made; the first test that asked for it says why")
                self._make({**FAMILIES, **JOINED}[family], precision, run)
        return run

    def _make(self, family: Family, precision: str, run: Path) -> None:
        words = [*family.data, *family.model, *family.steps]
        if family.base is not None:
            words.append(f"model.backbone={self(family.base)}")
        if family.teacher is not None:
            words.append(f"trainer.teacher={self(family.teacher)}")
        if "CASES" in words:
            words[words.index("CASES")] = f"data.file={write_cases(self.folder / f'cases-{run.name}')}"
            words += ["data.image=[one,two,three]", "data.id=case", "data.target=label"]
        if "BERT" in words:
            words[words.index("BERT")] = f"model.backbone=local-dir:{write_folder(self.folder / f'bert-{run.name}')}"
        if precision != "no":
            words.append(f"trainer.precision={precision}")
        before = _allocated(self.device)
        command = ["train", *words, f"device={self.device}", "evaluation.replicates=5", f"run={run}"]
        assert main(command) == 0, command
        taken = _peak(self.device) - before
        if precision == "no":
            assert main(["export", f"run={run}", "images=8"]) == 0
        (run / "facts.json").write_text(json.dumps({"bytes": taken}))


def _allocated(device: str) -> int:
    """Return what is allocated on a device now, and measure the peak from here on."""
    if device != "cuda":
        return 0
    gc.collect()  # of the run before: what is freed in between would hide what this one takes
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _peak(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else 0


def write_cases(folder: Path) -> Path:
    """Write 40 cases of one to three photographs with their table; returns the table."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["case,one,two,three,label"]
    for case in range(40):
        names = [f"{case}-{view}.png" if view <= case % 3 else "" for view in range(3)]
        for name in filter(None, names):
            Image.fromarray(rng.integers(0, 150, (40, 36, 3), dtype=np.uint8) + 100 * (case // 3 % 2)).save(folder / name)
        lines.append(f"c{case},{','.join(names)},{'ab'[case // 3 % 2]}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder / "cases.csv"


def samples_of(run: Path, split: str) -> SampleDataset:
    """Return a split of a run's own data."""
    directory = RunDirectory.open(run)
    spec = ModelSpec.read(directory.spec)
    return SampleDataset(run_dataset(directory, {}, spec), split, spec.preprocess)


def images_of(run: Path, count: int = 24, split: str = "test") -> list[NDArray[Any]]:
    """Return the first images of a split of a run's own data, as its graph takes them."""
    samples = samples_of(run, split)
    return [samples.pixels(index) for index in range(min(count, len(samples)))]


def distance(found: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return ‖found − reference‖ / ‖reference‖."""
    ours, theirs = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours))


def distances(found: dict[str, NDArray[Any]], reference: dict[str, NDArray[Any]], names: Sequence[str] = ()) -> dict[str, float]:
    """Return the distance of each output; of those that are named, or of all."""
    assert set(found) == set(reference)
    return {name: distance(found[name], reference[name]) for name in names or reference}
