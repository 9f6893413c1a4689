"""Samples of several modalities through one session with bounded memory: read a window at a time, answered in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError, UnknownNameError
from medzoo.data.images.given import INPUTS, GivenSample, Modalities, alike
from medzoo.export.runtime.stream import Prediction

Outputs = dict[str, NDArray[Any]]
WINDOW = 4
"""Batches that are read before they are run."""


def stream_samples(
    samples: Iterable[Any], modalities: Modalities, run: Callable[[list[GivenSample]], Outputs], *, batch_size: int = 32,
    on_error: str = "stop"
) -> Iterator[Prediction]:  # fmt: skip
    """Yield one prediction a sample, in the order of the input; samples whose images have the same sizes share batches.

    Args:
        samples: See `medzoo.data.images.given.Modalities.read`.
        modalities: Of the model.
        run: Samples that can share a batch → a graph's outputs.
        batch_size: Most samples a run.
        on_error: `stop` raises at the first image that cannot be read; `skip` yields its error in its place. A name, word or
            value that the model does not know is always raised.

    Raises:
        ImageError, ConfigError: As `Modalities.read`, with the sample's place.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size {batch_size} must be at least 1")
    if on_error not in ("stop", "skip"):
        raise UnknownNameError("choice of on_error", on_error, ("stop", "skip"))
    source = enumerate(samples)
    while chunk := list(islice(source, WINDOW * batch_size)):
        answers: dict[int, Prediction] = {}
        places, read = [], []
        for place, sample in chunk:
            try:
                read.append(modalities.read(sample))
                places.append(place)
            except ImageError as error:
                found = ImageError(f"sample {place}: {error}")
                if on_error == "stop":
                    raise found from error
                answers[place] = Prediction(place, {}, found)
            except ConfigError as error:
                raise ConfigError(f"sample {place}: {error}") from error
        for chosen in alike(read, batch_size):
            outputs = run([read[one] for one in chosen])
            for row, one in enumerate(chosen):
                answers[places[one]] = Prediction(places[one], {name: np.array(v[row]) for name, v in outputs.items()})
        yield from (answers[place] for place, _ in chunk)


def feed_of(samples: Sequence[GivenSample], modalities: Modalities) -> Outputs:
    """Return what a graph takes of samples that can share a batch: the first modality's first image is its input `image`."""
    feed: Outputs = {name: np.stack([sample.tokens[name] for sample in samples]) for name in modalities.texts}
    feed |= {f"{name}_mask": _there(name, samples) for name in modalities.texts}
    for place, name in enumerate(modalities.shown):
        feed[name if place else "image"] = np.stack([sample.images[name] for sample in samples])
        feed[f"{name}_mask"] = _there(name, samples)
    if modalities.inputs is not None:
        feed[INPUTS] = np.stack([sample.values for sample in samples if sample.values is not None])
    return feed


def _there(name: str, samples: Sequence[GivenSample]) -> NDArray[np.float32]:
    return np.array([[float(name in sample.there)] for sample in samples], np.float32)
