"""A sample of several modalities as a user gives it: images and texts by name, and values by name. Needs no torch."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError, MedzooError, UnknownNameError
from medzoo.data.images.bags import view_codes
from medzoo.data.images.decode import read_as_trained
from medzoo.data.inputs import InputSpace

INPUTS = "inputs"
BLANK = 8
"""Pixels a side of what stands for an image that is not given."""
Pixels = Callable[[str, Any], NDArray[Any]]
"""A modality and one image of it → its pixels."""
Tokens = Callable[[Sequence[str]], NDArray[np.int64]]
"""What turns texts into token ids; `medzoo.data.text.tokenizer.Tokenizer`."""


def view_names(name: str, views: int) -> list[str]:
    """Return what each view of a modality's images is called as an input of a graph: its own name, then `<name>_2` and so on."""
    return [name, *(f"{name}_{number}" for number in range(2, views + 1))]


@dataclass(frozen=True)
class GivenSample:
    """What there is of one sample.

    Attributes:
        images: View (`view_names`) → (H, W, C) or (D, H, W, C) pixels, black ones where it is missing.
        there: Views and texts that were given.
        tokens: Text → (L,) token ids, 0 where it is missing.
        values: (V,) values beside the images, NaN where missing; None of a model that reads none.
    """

    images: Mapping[str, NDArray[Any]]
    there: frozenset[str]
    tokens: Mapping[str, NDArray[np.int64]]
    values: NDArray[np.float32] | None


@dataclass(frozen=True)
class Modalities:
    """What a model of several modalities takes, by its spec.

    Attributes:
        preprocess: Modality → `size`, `channels`, `dtype` of its images, in the model's order.
        reading: Modality → how its files were read in training: `window`, and where it was said `frames` and `channels`.
        inputs: What the values beside the images are; None: it reads none.
        views: Modality → how many images of it a sample may have; those that may have several.
        texts: Text → what makes its tokens, in the model's order.
    """

    preprocess: Mapping[str, Mapping[str, Any]]
    reading: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: InputSpace | None = None
    views: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, Tokens] = field(default_factory=dict)

    @classmethod
    def of_spec(cls, spec: Mapping[str, Any], texts: Mapping[str, Tokens]) -> Modalities | None:
        """Return those of a spec's content, with its tokenizers; None of a model of one image."""
        encoders = spec.get("arguments", {}).get("encoders")
        if encoders is None:
            return None
        data, about = spec["data"], spec["arguments"].get(INPUTS)
        own = {name: data.get("modalities", {}).get(name, data) for name in encoders}
        space = None if about is None else InputSpace.from_dict(about)
        views = {name: int(one["views"]) for name, one in encoders.items() if one.get("views", 1) > 1}
        return cls({name: one["preprocess"] for name, one in encoders.items()}, own, space, views, texts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, in the model's order."""
        return tuple(self.preprocess)

    @property
    def shown(self) -> dict[str, str]:
        """View → its modality, in the order of a graph's inputs: all images that a sample may have."""
        return {view: name for name in self.names for view in view_names(name, self.views.get(name, 1))}

    def read(self, sample: Any, pixels: Pixels | None = None) -> GivenSample:
        """Return a sample's pixels, tokens and values; what is left out, or None, is missing.

        A plain image is the first modality's. A modality of several views takes one image or a list of them.

        Args:
            sample: Images, texts and values by name, or an image.
            pixels: Reads the images; None: the method of that name.

        Raises:
            ImageError: If an image cannot be read, or nothing is given.
            UnknownNameError: If a name is no modality or input, or a word no category.
            ConfigError: If a value is no number, a text no text, views are too many, or the model reads no values.
        """
        given = sample if isinstance(sample, Mapping) else {self.names[0]: sample}
        known = [*self.names, *self.texts, *([INPUTS] if self.inputs is not None else [])]
        for name in given:
            if name == INPUTS and self.inputs is None:
                raise ConfigError("this model reads no values beside its images; leave inputs out")
            if name not in known and name not in self.shown:
                raise UnknownNameError("modality", str(name), known)
        images = {view: image for name in self.names for view, image in self._views(name, given).items()}
        tokens = {name: self._tokens(name, given[name]) for name in self.texts if not no_text(given.get(name))}
        values = None if self.inputs is None else self.inputs.row(given.get(INPUTS) or {})
        if not images and not tokens and (values is None or np.isnan(values).all()):
            raise ImageError(f"nothing is given of a sample: give some of {', '.join(known)}")
        shown = {
            view: _named(pixels or self.pixels, name, images[view]) if view in images else self._black(name)
            for view, name in self.shown.items()
        }
        nothing = {name: np.zeros(getattr(tokenizer, "context_length", 0), np.int64) for name, tokenizer in self.texts.items()}
        return GivenSample(shown, frozenset([*images, *tokens]), nothing | tokens, values)

    def _views(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is given of a modality by view, from the first on."""
        most, value = self.views.get(name, 1), given.get(name)
        found = list(value) if most > 1 and isinstance(value, list | tuple) else [value]
        found = [image for image in [*found, *(given.get(view) for view in view_names(name, most)[1:])] if image is not None]
        if len(found) > most:
            raise ConfigError(f"modality {name!r} has {len(found)} images, and the model takes up to {most} views of it")
        return dict(zip(view_names(name, most), found, strict=False))

    def _tokens(self, name: str, text: Any) -> NDArray[np.int64]:
        if not isinstance(text, str):
            raise ConfigError(f"text {name!r} is {text!r}, which is no text")
        try:
            found: NDArray[np.int64] = self.texts[name]([text])[0]
        except ConfigError as error:
            raise ConfigError(f"text {name!r}: {error}") from error
        return found

    def pixels(self, name: str, image: Any) -> NDArray[Any]:
        """Return one image of a modality as the graph takes it; ImageError, or another, if it cannot be read."""
        wanted, card = self.preprocess[name], self.reading.get(name, {})
        return read_as_trained(
            image, card, channels=wanted["channels"], dtype=wanted["dtype"], dimensions=len(wanted["size"])
        )  # fmt: skip

    def _black(self, name: str) -> NDArray[Any]:
        wanted = self.preprocess[name]
        return np.zeros((*(BLANK for _ in wanted["size"]), wanted["channels"]), wanted["dtype"])


def _named(pixels: Pixels, name: str, image: Any) -> NDArray[Any]:
    try:
        return pixels(name, image)
    except MedzooError as error:
        raise ImageError(f"modality {name!r}: {error}") from error


def no_text(text: Any) -> bool:
    """Return whether a text is missing: None, NaN, or nothing that shows, in HTML (`&nbsp;`) either, which tokenizers decode."""
    if not isinstance(text, str):
        return text is None or (isinstance(text, float) and text != text)
    # Twice, as `medzoo.data.text.tokenizer.clean_text` does.
    decoded = html.unescape(html.unescape(text)) if "&" in text else text
    return all(character.isspace() or unicodedata.category(character) in ("Cf", "Cc") for character in decoded)


def with_views(cases: Sequence[Any], known: Sequence[str]) -> tuple[list[Any], list[NDArray[np.int64]]]:
    """Return the images of cases, and a code of what each shows (`medzoo.data.images.bags.view_codes`): 0 where nobody says.

    Args:
        cases: Images of each; or `{"images": [...], "views": [...]}`, a word or None an image.
        known: What the model knows that they show; empty: it reads nothing of it.

    Raises:
        ConfigError: If there are views of a model that reads none, or not one an image.
        UnknownNameError: If a view is none of the model's.
    """
    images: list[Any] = []
    codes: list[NDArray[np.int64]] = []
    for place, case in enumerate(cases):
        own, views = (case.get("images", ()), case.get("views")) if isinstance(case, Mapping) else (case, None)
        if views is not None and not known:
            raise ConfigError(f"case {place}: this model reads no views of its images; leave them out")
        if views is not None and len(views) != len(own):
            raise ConfigError(f"case {place} has {len(own)} images and {len(views)} views; give one each, None where nobody says")
        for word in views or ():
            if not no_text(word) and word not in known:
                raise UnknownNameError("view", str(word), known, where=f" of case {place}")
        images.append(own)
        codes.append(view_codes(views or [None] * len(own), known) if known else np.zeros(0, np.int64))
    return images, codes


def is_sample(given: Any) -> bool:
    """Whether something is one sample by name, or a list of samples of which the first is."""
    return isinstance(given, Mapping) or (isinstance(given, list | tuple) and bool(given) and isinstance(given[0], Mapping))


def as_samples(given: Any) -> list[Any]:
    """Return samples as a list; a single one is a list of one."""
    return [given] if isinstance(given, Mapping) else list(given)


def alike(samples: Sequence[GivenSample], batch_size: int) -> Iterator[list[int]]:
    """Yield positions of samples that can share a batch, at most `batch_size` at a time."""
    places: dict[Any, list[int]] = {}
    for index, sample in enumerate(samples):
        places.setdefault(tuple(image.shape for image in sample.images.values()), []).append(index)
    for found in places.values():
        for start in range(0, len(found), batch_size):
            yield found[start : start + batch_size]
