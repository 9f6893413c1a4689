"""From logits to what they mean, without torch: for one image, and for a case of several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError, OnnxFileError
from medzoo.data.labels import LabelSpace, probabilities
from medzoo.data.operating_points import with_calls
from medzoo.evaluation.calibration.calibrator import Calibrator
from medzoo.evaluation.calibration.conformal import Conformal

if TYPE_CHECKING:
    from medzoo.export.runtime.model import OnnxModel
    from medzoo.export.runtime.stream import Image


def behind_logits(metadata: Mapping[str, str]) -> tuple[Calibrator | None, Conformal | None]:
    """Return what stands behind the logits in a file, by its metadata: a calibrator, prediction sets."""
    calibrator, conformal = (metadata.get(f"medzoo.{name}") for name in ("calibrator", "conformal"))
    return (
        None if calibrator is None else Calibrator.from_dict(json.loads(calibrator)),
        None if conformal is None else Conformal.from_dict(json.loads(conformal)),
    )


def own_logits(outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the model's own logits, which a calibrated file has beside the calibrated ones."""
    return outputs.get("raw_logits", outputs["logits"])


def predict_means(model: OnnxModel, cases: Sequence[Sequence[Image]], batch_size: int) -> dict[str, NDArray[Any]]:
    """Run cases of one or several photographs each, by the mean of what a model says of each; see `OnnxModel.predict_cases`."""
    if model.labels is None:
        raise OnnxFileError("this model has no labels to average over a case")
    lengths = [len(case) for case in cases]
    if 0 in lengths:
        raise ImageError(f"case {lengths.index(0)} has no image")
    outputs = model.predict([image for case in cases for image in case], batch_size=batch_size)
    kind = model.spec["objective"].get("kind")
    if kind == "embedding" and max(lengths, default=1) > 1:
        # Classes are linear in the embeddings, so that the mean of what they say under the same concepts is what their mean says.
        values = np.repeat(mean_of_concepts(outputs["concepts"], lengths), lengths, axis=0)
        images = [image for case in cases for image in case]
        outputs = model.predict(images, batch_size=batch_size, concept_values=values, concept_mask=np.ones_like(values))
    if kind in ("soft", "hard") and max(lengths, default=1) > 1:
        if model.spec["objective"]["residual"]:
            raise OnnxFileError("a case's photographs cannot be averaged behind this bottleneck's residual path; use medzoo.load")
        values = mean_of_concepts(outputs["concepts"], lengths)
        first = [case[0] for case in cases]
        outputs = model.predict(first, batch_size=batch_size, concept_values=values, concept_mask=np.ones_like(values))
        return {name: outputs[name] for name in outputs if name in ("logits", "probabilities", "calls")}
    return with_calls(mean_of_cases(own_logits(outputs), lengths, model.labels, model.calibrator), model.points)


def mean_of_cases(
    logits: NDArray[Any], lengths: Sequence[int], labels: LabelSpace, calibrator: Calibrator | None = None
) -> dict[str, NDArray[Any]]:
    """Average the logits of each case's images, as training does, and calibrate the mean, as it was fitted.

    Args:
        logits: (sum of lengths, K), case after case.
        lengths: Images of each case, at least 1.
        labels: What the columns mean.
        calibrator: What the means pass; None: they stay as they are.

    Returns:
        `logits` and `probabilities`, (len(lengths), K).
    """
    starts = np.cumsum([0, *lengths])[:-1]
    mean = np.add.reduceat(logits, starts, axis=0) / np.array(lengths, dtype=np.float32)[:, None] if lengths else logits
    if calibrator is not None:
        mean = calibrator.logits(mean).astype(np.float32)
    return {"logits": mean, "probabilities": probabilities(mean, labels)}


def mean_of_concepts(concepts: NDArray[Any], lengths: Sequence[int]) -> NDArray[np.float32]:
    """Average predicted concepts over each case's images, as logits, as training does; for `lengths` see `mean_of_cases`.

    (sum of lengths, M) probabilities, case after case → (len(lengths), M) probabilities.
    """
    shares = np.clip(concepts.astype(np.float64), 1e-12, 1 - 1e-7)  # float32 has no share between 1 - 6e-8 and 1
    starts = np.cumsum([0, *lengths])[:-1]
    mean = np.add.reduceat(np.log(shares / (1 - shares)), starts, axis=0) / np.array(lengths)[:, None]
    return np.asarray(1 / (1 + np.exp(-mean)), np.float32)
