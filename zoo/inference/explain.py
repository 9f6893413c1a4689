"""Why a bottleneck says a class: each concept's contribution, exactly, because the class layer is linear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medzoo.data.errors import UnknownNameError
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.bottleneck_run import concept_outputs, read_by_classes
from medzoo.store.figures import figure_png
from medzoo.tasks.bottleneck import Bottleneck

# In brackets, so that concepts and classes may have these words for names.
BIAS, RESIDUAL, ABSENT = "(bias)", "(residual)", "(all absent)"
PROBABILITY, TRUTH = "(probability)", "(truth)"


@dataclass(frozen=True)
class Explanation:
    """One sample's classes, taken apart.

    Of a bottleneck of embeddings what a concept adds is against its absence in that sample, and in place of the bias stands
    `(all absent)`, what the embeddings say where every concept is.

    Attributes:
        sample_id: Which sample.
        table: One row a concept, `(residual)` (where the model has such a path) and `(bias)`. Columns: `(probability)` of the
            concept (of a score its place in 0..1), `(truth)`, then one a class with what the row adds to its output. The classes'
            columns sum to the class outputs.
        outputs: Class → its output (logit; for quantities in units of their spread, less their mean).
    """

    sample_id: str
    table: pd.DataFrame
    outputs: dict[str, float]


def concept_weights(task: Bottleneck, predictions: Predictions) -> pd.DataFrame:
    """Return the class layer: one row a concept and `(bias)`, one column a class.

    Of a bottleneck of embeddings, whose concepts do something else in each sample, the mean over those predicted of what a
    concept adds where it is there, and of `(all absent)`. Of one of prototypes one row a prototype, `<concept> 0` and so on.
    """
    absent, effects = predictions.absent_logits, predictions.concept_effects
    if absent is not None and effects is not None:
        mean = 0.0 if task.objective.mean is None else np.array(task.objective.mean)
        spread = 1.0 if task.objective.std is None else np.array(task.objective.std)
        own = pd.DataFrame(
            effects.mean(axis=0) / spread, index=list(task.concept_labels.names), columns=list(task.spec.label_space.names)
        )
        own.loc[ABSENT] = (absent.mean(axis=0) - mean) / spread
        return own
    weight, bias = task.model.head.weight.detach().numpy(), task.model.head.bias.detach().numpy()
    names = list(task.concept_labels.names)
    if predictions.prototype_scores is not None:
        names = [f"{name} {number}" for name in names for number in range(weight.shape[1] // len(names))]
    rows = pd.DataFrame(weight.T, index=names, columns=list(task.spec.label_space.names))
    rows.loc[BIAS] = bias
    return rows


def explain_sample(task: Bottleneck, predictions: Predictions, sample_id: str) -> Explanation:
    """Take one sample's class outputs apart, from predictions of the bottleneck with `concept_logits`.

    UnknownNameError if there is no such sample, EvaluationError if the predictions are of another model.
    """
    concepts, logits, known = concept_outputs(task, predictions)
    places = np.flatnonzero(predictions.sample_id == sample_id)
    if not len(places):
        raise UnknownNameError("sample", sample_id, map(str, predictions.sample_id))
    place = int(places[0])
    classes, names = list(task.spec.label_space.names), list(concepts.names)
    given = torch.from_numpy(logits[[place]])
    with torch.no_grad():
        shown = task.model.eval().shown(torch.from_numpy(read_by_classes(predictions)[[place]]))[0].numpy()
    weights = concept_weights(task, predictions.take(np.arange(len(predictions)) == place))
    if predictions.prototype_scores is None:
        rows = weights.loc[names].mul(shown, axis=0)
    else:
        added = weights.iloc[:-1].mul(shown, axis=0).to_numpy().reshape(len(names), -1, len(classes)).sum(axis=1)
        rows = pd.DataFrame(added, index=names, columns=classes)
    if predictions.residual_logits is not None:
        spread = np.ones(len(classes)) if task.objective.std is None else np.array(task.objective.std)
        rows.loc[RESIDUAL] = predictions.residual_logits[place] / spread
    rows.loc[weights.index[-1]] = weights.iloc[-1]
    probability, truth = task.model.values(given)[0].numpy(), known[place]
    rows.insert(0, TRUTH, [*truth, *[np.nan] * (len(rows) - len(names))])
    rows.insert(0, PROBABILITY, [*probability, *[np.nan] * (len(rows) - len(names))])
    return Explanation(sample_id, rows, {name: float(rows[name].sum()) for name in classes})


def plot_explanation(explanation: Explanation, image: NDArray[Any] | None = None) -> bytes:
    """Draw the contributions to the strongest class as bars, beside the image if given ((H, W) or (H, W, 3)); PNG."""
    from matplotlib.figure import Figure

    top = max(explanation.outputs, key=explanation.outputs.__getitem__)
    values = explanation.table[top]
    figure = Figure(figsize=(8 if image is not None else 5, 0.35 * len(values) + 1.5), layout="constrained")
    axes = figure.subplots(1, 2 if image is not None else 1, squeeze=False)[0]
    if image is not None:
        axes[0].imshow(image, cmap="gray")
        axes[0].set_axis_off()
    names = [f"{n} ({p:.2f})" if p == p else str(n) for n, p in explanation.table[PROBABILITY].items()]
    axes[-1].barh(names, values.to_numpy(), color=["tab:green" if v > 0 else "tab:red" for v in values])
    axes[-1].invert_yaxis()
    axes[-1].axvline(0, color="black", linewidth=0.6)
    axes[-1].set(xlabel=f"adds to {top!r} ({explanation.outputs[top]:.2f})")
    return figure_png(figure)


def plot_weights(weights: pd.DataFrame) -> bytes:
    """Draw a class-by-concept table as a heat map; PNG."""
    from matplotlib.figure import Figure

    concepts = weights.iloc[:-1]
    figure = Figure(figsize=(1.2 * concepts.shape[1] + 2, 0.35 * len(concepts) + 1.5), layout="constrained")
    axes = figure.subplots()
    limit = float(np.abs(concepts.to_numpy()).max()) or 1.0
    shown = axes.imshow(concepts.to_numpy(), cmap="RdYlGn", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(concepts.shape[1]), [str(c) for c in concepts.columns], rotation=30, ha="right")
    axes.set_yticks(range(len(concepts)), [str(c) for c in concepts.index])
    figure.colorbar(shown, label="mean effect" if weights.index[-1] == ABSENT else "weight")
    return figure_png(figure)
