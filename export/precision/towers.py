"""Reduced precision of an image–text model.

Its towers and classifiers are each held against their own float32 graph, the two reduced towers together against their pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medzoo.data.dataset import Dataset
from medzoo.export.files.model_files import open_model
from medzoo.export.graph.clip_graphs import parity_texts
from medzoo.export.graph.onnx_file import ProvenGraph
from medzoo.export.precision.convert import DynamicInt8, Half, NotOfferedError
from medzoo.export.precision.judges import ImageJudge, TextJudge
from medzoo.export.precision.reduce import Reduced, reduce_graph, reduction_of
from medzoo.export.precision.validation import drawn, validation_of
from medzoo.export.settings import ExportConfig
from medzoo.inference.zeroshot import ZeroShotClassifier
from medzoo.tasks.contrast import Contrast
from medzoo.tasks.prepare import write_captions

CAPTIONS = 256
"""Most captions of the validation split that a text tower is judged on, beside every prompt."""


def reduce_towers(
    task: Contrast,
    proven: Mapping[str, ProvenGraph],
    classifier: ZeroShotClassifier | None,
    texts: Sequence[str],
    dataset: Dataset,
    captions: str,
    config: ExportConfig,
) -> dict[str, Reduced]:
    """Reduce `image`, `zeroshot`, `zeroshot_open` and `text`; int8 of a text tower is dynamic, which needs no calibration.

    Args:
        task: The model.
        proven: Name → float32 graph.
        classifier: Of the run's classes; None without.
        texts: The classifier's, in its order, or any where there is none.
        dataset: The run's.
        captions: Where the run's captions come from, see `medzoo.tasks.prepare.caption_prompts`.
        config: The command's settings, of a reduced precision.

    Returns:
        Name → reduced graph. `int8_dynamic` leaves out image graphs that are mostly convolutions, and says so.

    Raises:
        ExportError: If a graph fails its gate; the message names the graph.
    """
    samples = task.samples(dataset, "val")
    training = task.samples(dataset, "train")
    validation = validation_of(samples, None, config.gate.images, config.gate.seed)
    calibration = drawn(training, config.calibration.images, config.calibration.seed)
    found: dict[str, Reduced] = {}
    embeddings = reduced_embeddings = None
    for name, graph in proven.items():
        if name == "text":
            continue
        judge = ImageJudge(graph, validation, config.gate, classifier)
        embeddings = judge.outputs["image_embedding"]
        try:
            batches = judge.calibration(calibration)
            reduction = reduction_of(config.precision, graph.model, batches, config.calibration.method)
        except NotOfferedError as error:
            print(f"note: no {name}.{config.precision}.onnx: {error}")
            continue
        found[name] = reduce_graph(graph, reduction, judge, config, name=f"{name}: ", calibrated_on=len(calibration))
        if name == "image":
            session = open_model(found[name].model)
            reduced_embeddings = validation.images.run(session, ["image_embedding"], {})["image_embedding"]
    graph = proven["text"]
    if dataset.labels is not None or samples.has_text:
        write_captions(samples, dataset, captions)
    said = sorted({samples.text(int(row)) for row in validation.images.places[:CAPTIONS]} - {""})
    tokens = task.tokenizer([*parity_texts(task, texts), *said])
    text_judge = TextJudge(graph, tokens, config.gate, classifier, validation, embeddings, reduced_embeddings)
    reduction = Half(graph.model) if config.precision == "fp16" else DynamicInt8(graph.model)
    found["text"] = reduce_graph(graph, reduction, text_judge, config, name="text: ")
    return found
