"""`medzoo export` for image–text models: two towers, and zero-shot classifiers where the dataset has labels and prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from medzoo.config import ExportConfig, ZeroshotConfig
from medzoo.data.dataset import Dataset
from medzoo.data.prompts import Prompts
from medzoo.evaluation.contrast import classifier_prompts, prompt_card
from medzoo.evaluation.zeroshot import build_classifier
from medzoo.export.clip_graphs import OpenZeroShotGraph, TextTower, ZeroShotGraph, parity_texts
from medzoo.export.onnx_file import export_graph, export_text_tower, format_parity
from medzoo.tasks.contrast import Contrast
from medzoo.train.run import RunDirectory
from medzoo.train.storage import write_file
from medzoo.zeroshot import choose_prompts

DEFAULT_TEXTS = ("an image of the skin", "a chest film without finding", "a scan showing a lesion")


def export_clip(
    task: Contrast,
    dataset: Dataset,
    run: RunDirectory,
    images: Sequence[NDArray[Any]],
    targets: NDArray[np.float32] | None,
    config: ExportConfig,
) -> list[Path]:
    """Write `image.onnx`, `text.onnx`, `zeroshot_open.onnx` (class vectors are an input) and, with labels, `zeroshot.onnx`.

    Args:
        task: With trained weights.
        dataset: The run's.
        run: Where the files go, unless `config.output` names a folder.
        images: Real validation images.
        targets: Their targets, or None.
        config: The command's settings.

    Returns:
        The files written.

    Raises:
        ExportError: If a proof fails; that file is not written.
    """
    folder = run.path if config.output is None else Path(config.output)
    reports: dict[str, Any] = {"image.onnx": export_graph(task.deploy(), folder / "image.onnx", images)}
    texts = list(DEFAULT_TEXTS)
    with torch.no_grad():
        vectors = task.embed_texts(texts).cpu().numpy()
    labels = dataset.labels
    settings = yaml.safe_load(run.config.read_text(encoding="utf-8"))["model"]
    if labels is not None and config.prompts is not None:
        prompts: Prompts | None = choose_prompts(ZeroshotConfig(prompts=config.prompts), dataset, labels)
    else:  # what the run was scored with
        prompts = classifier_prompts(dataset, settings.get("captions", "auto"))
    if prompts is None or labels is None:
        print("note: no zeroshot.onnx: the dataset has no classes, or no prompts for them; zeroshot_open.onnx takes any classes")
    else:
        classifier = build_classifier(task, prompts, labels)
        texts = [text for group in classifier.texts.values() for text in group]
        report = export_graph(ZeroShotGraph(task, classifier), folder / "zeroshot.onnx", images, targets)
        reports["zeroshot.onnx"] = {**report, "prompts": prompt_card(prompts, classifier)}
        vectors = classifier.positive
    # New classes need no new file: they come as vectors, which the text tower's file makes.
    reports["zeroshot_open.onnx"] = export_graph(OpenZeroShotGraph(task, vectors), folder / "zeroshot_open.onnx", images)
    reports["text.onnx"] = export_text_tower(TextTower(task), folder / "text.onnx", task.tokenizer, parity_texts(task, texts))
    write_file(folder / "export.json", json.dumps(reports, indent=2, ensure_ascii=False).encode("utf-8"))
    for name, report in reports.items():
        print(f"wrote {folder / name} ({report['megabytes']} MB)")
        print(f"  {format_parity(report['parity'])}")
    return [folder / name for name in reports]
