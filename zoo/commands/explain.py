"""`medzoo explain`: a concept bottleneck's weights, and why it says what it says of one sample."""

from __future__ import annotations

import json
import re

import numpy as np

from medzoo.data.errors import ConfigError, MedzooError
from medzoo.inference.bottleneck_run import open_bottleneck
from medzoo.inference.explain import concept_weights, explain_sample, plot_explanation, plot_weights
from medzoo.inference.predict import run_dataset
from medzoo.settings.verbs import ExplainConfig
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.store.storage import write_file


def main(config: ExplainConfig) -> None:
    """Run the command.

    Raises:
        ConfigError: If the run is no concept bottleneck.
        EvaluationError: If its predictions are missing, or of another model.
        UnknownNameError: If there is no such sample.
    """
    if config.run is None:
        raise ConfigError("say which run to explain: run=<run directory>")
    run, task, predictions = open_bottleneck(config.run)
    if config.sample is None:
        weights = concept_weights(task)
        print(weights.round(3).to_string())
        write_file(run.path / "concept_weights.csv", weights.to_csv().encode("utf-8"))
        write_file(run.plots / "concept_weights.png", plot_weights(weights))
        return
    explanation = explain_sample(task, predictions, config.sample)
    print(explanation.table.round(3).to_string(na_rep=""))
    print("sum  " + "  ".join(f"{name} {value:.3f}" for name, value in explanation.outputs.items()))
    name = re.sub(r"[^\w.-]+", "_", config.sample)
    content = {"sample_id": explanation.sample_id, "outputs": explanation.outputs}
    content["table"] = json.loads(explanation.table.to_json(orient="index"))
    write_file(run.path / "explanations" / f"{name}.json", json.dumps(content, indent=2).encode("utf-8"))
    write_file(run.path / "explanations" / f"{name}.png", plot_explanation(explanation, _image(run, config.sample)))


def _image(run: RunDirectory, sample_id: str) -> np.ndarray | None:  # type: ignore[type-arg]
    """Return the sample's picture, (H, W) or (H, W, 3); None where the images are not at hand."""
    try:
        dataset = run_dataset(run, {}, ModelSpec.read(run.spec))
        row = dataset.table.set_index("sample_id", drop=False).loc[sample_id]
        images = dataset.reader.images(*(row[column] for column in dataset.reader.columns))
        pixels = dataset.reader.read(*next(iter(images.values())))
    except (MedzooError, OSError):
        return None
    flat = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    return flat[0] if flat.shape[0] == 1 else np.moveaxis(flat, 0, -1)
