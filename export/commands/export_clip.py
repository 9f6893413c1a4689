"""`medzoo export` for image–text models: two towers, and zero-shot classifiers where the dataset has labels and prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from medzoo.data.dataset import Dataset
from medzoo.data.errors import ExportError
from medzoo.data.text.prompts import Prompts
from medzoo.export.commands.proof import format_proof, format_reduced
from medzoo.export.graph.clip_graphs import DEFAULT_TEXTS, OpenZeroShotGraph, TextTower, ZeroShotGraph, parity_texts
from medzoo.export.graph.onnx_file import prove_graph, prove_text_tower, write_graph
from medzoo.export.precision.reduce import Reduced
from medzoo.export.precision.towers import reduce_towers
from medzoo.export.settings import ExportConfig
from medzoo.inference.embed import classifier_prompts, prompt_card
from medzoo.inference.zeroshot import build_classifier, choose_prompts
from medzoo.settings.verbs import ZeroshotConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.storage import write_file
from medzoo.tasks.contrast import Contrast


def export_clip(
    task: Contrast,
    dataset: Dataset,
    run: RunDirectory,
    images: Sequence[NDArray[Any]],
    targets: NDArray[np.float32] | None,
    config: ExportConfig,
    further: Mapping[str, Any],
) -> list[Path]:
    """Write `image.onnx`, `text.onnx`, `zeroshot_open.onnx` (class vectors are an input) and, with labels, `zeroshot.onnx`.

    Args:
        task: With trained weights.
        dataset: The run's.
        run: Where the files go, unless `config.output` names a folder.
        images: Real validation images.
        targets: Their targets, or None.
        config: The command's settings; a reduced precision goes to `image.<precision>.onnx` and so on.
        further: What every file's report says beside its proof.

    Returns:
        The files written.

    Raises:
        ExportError: If a proof or a gate fails; nothing is written.
    """
    folder = run.path if config.output is None else Path(config.output)
    proven = {"image": prove_graph(task.deploy(), images)}
    cards: dict[str, Any] = {}
    texts = list(DEFAULT_TEXTS)
    with torch.no_grad():
        vectors = task.embed_texts(texts).cpu().numpy()
    labels, classifier = dataset.labels, None
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
        proven["zeroshot"] = prove_graph(ZeroShotGraph(task, classifier), images, targets)
        cards["zeroshot"] = {"prompts": prompt_card(prompts, classifier)}
        vectors = classifier.positive
    # New classes need no new file: they come as vectors, which the text tower's file makes.
    proven["zeroshot_open"] = prove_graph(OpenZeroShotGraph(task, vectors), images)
    proven["text"] = prove_text_tower(TextTower(task), task.tokenizer, parity_texts(task, texts))
    reduced: dict[str, Reduced] = {}
    suffix = "" if config.precision == "fp32" else f".{config.precision}"
    if config.precision != "fp32":
        try:
            reduced = reduce_towers(task, proven, classifier, texts, dataset, settings.get("captions", "auto"), config)
        except ExportError as error:
            older = [str(path) for name in proven if (path := folder / f"{name}{suffix}.onnx").exists()]
            if older:
                raise ExportError(f"{error}; what an older export wrote still stands there: {', '.join(older)}") from error
            raise
    reports: dict[str, Any] = {}
    for name, graph in proven.items():
        if suffix and name not in reduced:
            continue
        found = reduced.get(name)
        said = {**further, **cards.get(name, {}), **(found.report if found is not None else {})}
        path = folder / f"{name}{suffix}.onnx"
        reports[path.name] = report = write_graph(graph, path, None if found is None else found.model, said)
        lines = format_reduced(report, found.gates) if found is not None else []
        print("\n  ".join([f"wrote {path} ({report['megabytes']} MB)", *lines, *format_proof(report)]))
    text = json.dumps(reports, indent=2, ensure_ascii=False, allow_nan=False)
    write_file(folder / f"export{suffix}.json", text.encode("utf-8"))
    return [folder / name for name in reports]
