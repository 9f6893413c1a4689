"""The proof that a graph says what torch says: same images, several sizes and batches, compared logit by logit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.data.errors import ExportError
from medzoo.export.graph.figures import COSINE, FLOOR, TOLERANCE, Parity
from medzoo.tasks.task import Deployable

BATCHES = (1, 2, 3, 7)


def check_parity(
    graph: Deployable,
    session: Any,
    images: Sequence[NDArray[Any]],
    tolerance: float = TOLERANCE,
    extras: Mapping[str, torch.Tensor | Callable[[int], torch.Tensor]] | None = None,
    least: NDArray[np.float64] | float = 0.0,
    name: str = "image",
) -> Parity:
    """Compare a torch graph with its ONNX Runtime session.

    Args:
        graph: In evaluation mode, on the CPU.
        session: An `onnxruntime.InferenceSession` of the exported file.
        images: Real validation images, (H, W, C) or (D, H, W, C), of the graph's input type.
        tolerance: Largest difference in standard deviations of the logits.
        extras: Further inputs, by name; or what makes one for a number of images.
        least: Spread that the outputs are taken to have at least, one or (K,): where what is compared varies less than they do.
        name: The input that the images are given as.

    Returns:
        The figures, all within the limit.

    Raises:
        ExportError: If they differ by more, or a top class changes that is not a tie; the message says by how much.
    """
    if not images:
        raise ExportError("no validation image to prove the export on")
    given = dict(extras or {})
    ours: list[list[NDArray[Any]]] = []
    theirs: list[list[NDArray[Any]]] = []
    variants = _size_variants(images)
    sizes = tuple(tuple(variant[0].shape[:-1] or variant[0].shape) for variant in variants)
    distinct = len({image.tobytes() for image in variants[0][: sum(BATCHES)]})
    for variant in variants:
        start = 0
        for batch in BATCHES:
            # Images of one size alone can share a batch; repeat the few there are rather than test less.
            chosen = np.stack([variant[(start + i) % len(variant)] for i in range(batch)])
            start += batch
            values = {key: value(batch) if callable(value) else value for key, value in given.items()}
            with torch.no_grad():
                ours.append([output.numpy() for output in graph.forward(torch.from_numpy(chosen), *values.values())])
            feed = {name: chosen, **{key: value.numpy() for key, value in values.items()}}
            theirs.append(session.run(list(graph.outputs), feed))
    a, *further = (np.concatenate(parts) for parts in zip(*ours, strict=True))
    b, *others = (np.concatenate(parts) for parts in zip(*theirs, strict=True))
    for output, mine, other in zip(graph.outputs[1:], further, others, strict=True):
        _check_further(output, mine, other)
    if graph.outputs[0].endswith("_embedding"):
        return _check_embeddings(a, b, distinct, sizes)
    if a.shape != b.shape or not np.isfinite(b).all():
        raise ExportError(f"the graph's logits are {b.shape} and finite={bool(np.isfinite(b).all())}; torch's are {a.shape}")
    regression = graph.spec.labels is not None and graph.spec.labels.kind == "regression"
    if regression:  # quantities have units of their own and no class that is on top
        scale = np.maximum(np.array([_scale(column) for column in a.T]), least)
        same = np.ones(len(a), dtype=bool)
    else:
        scale = np.maximum(np.full(a.shape[1], _scale(a)), least)
        top = b.argmax(axis=1)
        same = a.max(axis=1) - np.take_along_axis(a, top[:, None], axis=1)[:, 0] <= 2 * tolerance * scale[0]
    difference = np.abs(a - b)
    relative, agreement = float((difference / scale).max()), float(same.mean())
    report = Parity(distinct, sizes, BATCHES, float(difference.max()), float(a.std()), relative, agreement)
    if relative > tolerance or agreement < 1:
        what, also = ("values", "") if regression else ("logits", f", top class the same for {agreement:.1%}")
        raise ExportError(
            f"the graph differs from torch: {what} by {relative:.2e} of their standard deviation (limit {tolerance:g})"
            f"{also}; no file was written"
        )
    return report


def _check_further(name: str, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    """Raise ExportError unless an output beside the first is torch's: numbers to 1e-3, sets exactly, embeddings by cosine."""
    if name.endswith("_embedding"):
        _check_embeddings(ours, theirs, len(ours), ())
    elif ours.shape != theirs.shape or not np.isfinite(theirs).all():
        raise ExportError(
            f"the graph's {name} are {theirs.shape} and finite={bool(np.isfinite(theirs).all())}; torch's {ours.shape}"
        )
    elif ours.dtype == bool:
        if (differing := int((ours != theirs).sum())) > 0:
            raise ExportError(f"{differing} entries of the graph's {name} differ from torch's; no file was written")
    elif (difference := float((np.abs(ours - theirs) / np.maximum(1, np.abs(ours))).max())) > TOLERANCE:
        raise ExportError(
            f"the graph's {name} differ from torch's by {difference:.2e} (limit {TOLERANCE:g}); no file was written"
        )


def check_text_parity(graph: Any, session: Any, tokens: torch.Tensor) -> Parity:
    """Compare a text tower with its session on (N, L) tokens, in batches of 1, 2, 3 and 7; ExportError below the least cosine."""
    ours, theirs, start = [], [], 0
    for batch in (*BATCHES, len(tokens)):
        chosen = tokens[[(start + i) % len(tokens) for i in range(batch)]]
        start += batch
        with torch.no_grad():
            ours.append(graph.forward(chosen)[0].numpy())
        theirs.append(session.run([graph.outputs[0]], {"tokens": chosen.numpy()})[0])
    return _check_embeddings(np.concatenate(ours), np.concatenate(theirs), len(torch.unique(tokens, dim=0)), ())


def _check_embeddings(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], count: int, sizes: tuple[tuple[int, ...], ...]
) -> Parity:
    if ours.shape != theirs.shape or not np.isfinite(theirs).all():
        raise ExportError(
            f"the graph's embeddings are {theirs.shape} and finite={bool(np.isfinite(theirs).all())}; torch's {ours.shape}"
        )
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    # A vector of length 0 has no direction to share: cosine 0, not the NaN that no comparison catches.
    cosine = float(np.divide((ours * theirs).sum(axis=1), lengths, out=np.zeros(len(ours), np.float32), where=lengths > 0).min())
    difference = float(np.abs(ours - theirs).max())
    if cosine < COSINE:
        raise ExportError(
            f"the graph's embeddings differ from torch's: smallest cosine {cosine:.6f} (limit {COSINE}); no file was written"
        )
    spread = float(ours.std())
    return Parity(count, sizes, BATCHES, difference, spread, difference / (spread or 1.0), 1.0, cosine)


def _scale(values: NDArray[Any]) -> float:
    """Return the spread of outputs, at least a thousandth of their size.

    Where a model says nearly the same of every image, differences of a millionth of the values are the rounding of float32.
    """
    spread, size = float(values.std()), float(np.abs(values).max())
    return max(spread, FLOOR * size) or 1.0


def _size_variants(images: Sequence[NDArray[Any]]) -> list[list[NDArray[Any]]]:
    """Return the images at native size and at others by cutting and repeating rows: of two heights and widths, of two depths."""
    native = [image for image in images if image.shape == images[0].shape]
    if native[0].ndim == 1:  # a row of features
        return [native]
    smaller = [np.ascontiguousarray(i[..., : max(1, i.shape[-3] * 3 // 4), :, :]) for i in native]
    larger = [np.ascontiguousarray(np.concatenate([i, i[..., ::-1, :]], axis=-2)) for i in native]
    if native[0].ndim == 3:
        return [native, smaller, larger]
    return [native, smaller, larger, [np.ascontiguousarray(i[: max(1, len(i) * 3 // 4)]) for i in native]]
