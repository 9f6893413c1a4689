"""Errors a user can cause, each one line that names the thing and the remedy.

Every error the package raises on purpose derives from `MedzooError`; the command line prints its message alone and
exits with status 2. Anything else that escapes is a defect of medzoo and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class MedzooError(Exception):
    """A mistake the user can mend; the message is one line.

    Attributes:
        status: Exit status of a program that ends with it.
    """

    status = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class ConfigError(MedzooError):
    """A wrong key, value or combination of settings."""


class DatasetError(MedzooError):
    """A dataset's files, columns, labels or splits are not what they must be."""


class ImageError(MedzooError):
    """Bytes that cannot be decoded into pixels, or pixels of the wrong shape."""


class CheckpointError(MedzooError):
    """A run, checkpoint or training state that is missing, damaged or of another model."""


class TrainingError(MedzooError):
    """Training cannot start or cannot go on (NaN loss, nothing to learn from, no space to save, too little memory)."""


class StoppedError(TrainingError):
    """Training was asked to stop and can go on later."""

    status = 75  # EX_TEMPFAIL of sysexits.h


class EvaluationError(MedzooError):
    """Predictions that cannot be made (too little memory) or scored."""


class ExportError(MedzooError):
    """A graph that could not be exported, or that failed its proof."""


class OnnxFileError(MedzooError):
    """An ONNX file that is damaged, altered or not medzoo's."""


class ProviderError(MedzooError):
    """An execution provider that was asked for and does not truly run."""


class MissingDependencyError(MedzooError):
    """A library this call needs is not installed; the message names the extra that brings it."""


class ImageDependencyError(ImageError, MissingDependencyError):
    """One image needs a library that is not installed; where images that cannot be read are skipped, it is."""


class UnknownNameError(ConfigError):
    """A name that is not among the known ones; the message offers the nearest."""

    def __init__(self, kind: str, name: object, options: Iterable[str], where: str = "") -> None:
        known = sorted(set(options))
        near = nearest(str(name), known)
        if near:
            remedy = f"did you mean {' or '.join(repr(n) for n in near)}?"
        elif len(known) <= 20:
            remedy = f"known: {', '.join(known) or 'none'}"
        else:
            remedy = f"none of the {len(known)} known names is near"
        super().__init__(f"unknown {kind} {str(name)!r}{where}; {remedy}")
        self.nearest = near


class UnknownColumnError(DatasetError):
    """A table lacks a column it must have; the message offers the nearest that it has.

    Args:
        dataset: Name that the message begins with.
        column: The column.
        columns: Those that there are.
        also: Other names it may have.
        remedy: Ends the message.
    """

    def __init__(self, dataset: str, column: str, columns: Sequence[str], also: Sequence[str] = (), remedy: str = "") -> None:
        hint = UnknownNameError("column", column, columns)
        near = f"the nearest is {hint.nearest[0]!r}" if hint.nearest else f"it has {', '.join(columns[:12]) or 'none'}"
        wanted = " or ".join(map(repr, (column, *also)))
        super().__init__(f"{dataset}: the table has no column {wanted}; {near}" + f"; {remedy}" * bool(remedy))


SYNONYMS = {
    "gpu": "cuda", "nvidia": "cuda", "cuda:0": "cuda", "trt": "tensorrt", "dml": "directml",
    "dermoscopy": "skin", "dermatoscopy": "skin", "dermatology": "skin", "derm": "skin", "clinical": "skin",
    "cxr": "xray", "x-ray": "xray", "radiograph": "xray", "radiography": "xray", "chest": "xray", "dx": "xray", "cr": "xray",
    "retina": "fundus", "ophthalmology": "fundus", "eye": "fundus", "histopathology": "histology",
    "pathology": "histology", "wsi": "histology", "us": "ultrasound", "sonography": "ultrasound", "echo": "ultrasound",
    "mr": "mri", "validation": "val", "valid": "val", "dev": "val", "training": "train", "testing": "test", "holdout": "test",
    "latest": "last", "final": "last", "half": "fp16", "float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "full": "fp32",
    "linear": "bilinear", "cubic": "bicubic", "letterbox": "pad", "squash": "stretch", "auc": "auroc", "roc_auc": "auroc",
    "average_precision": "ap", "auprc": "ap", "acc": "accuracy", "sensitivity": "recall", "ppv": "precision",
    "mse": "rmse squared_error", "bce": "binary_cross_entropy", "ce": "cross_entropy",
    "l1": "smooth_l1 mae", "l2": "squared_error rmse",
}  # fmt: skip
"""What users write → what it is called here (one place's name or another's), where spelling alone would offer another thing."""


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """Return the known names most like a mistyped one, best first; a word of `SYNONYMS` gives the name it means.

    Args:
        name: What the user wrote.
        options: The names that exist.
        count: At most this many are returned.

    Returns:
        Up to `count` names; empty when none is similar. A name that differs in case alone comes back by itself.
    """
    lowered: dict[str, str] = {}
    for option in options:
        lowered.setdefault(option.lower(), option)
    if name.lower() in lowered:
        return [lowered[name.lower()]]
    meant = [lowered[word] for word in SYNONYMS.get(name.lower(), "").split() if word in lowered]
    if meant:
        return meant[:count]
    close = difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.6)
    return [lowered[c] for c in close]
