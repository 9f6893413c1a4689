"""Several images that are the channels of one: the sequences of an MR study, the stains of a slide, each in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError, UnknownNameError
from medzoo.data.images.planes.placed import refuse_apart


@dataclass(frozen=True)
class Stack:
    """Which images are the channels.

    Attributes:
        names: What each is called, in the order of the channels.
        zeros: Whether one that is missing is filled with zeros (black, before normalisation); else it is an error.
    """

    names: tuple[str, ...]
    zeros: bool = False

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Stack | None:
        """Return what the card of a model's data says (`medzoo.data.dataset.data_card`); None of images that are not stacked."""
        about = card.get("stack")
        return None if about is None else cls(tuple(about["names"]), about["missing"] == "zeros")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description, which `of_card` reads back."""
        return {"names": list(self.names), "missing": "zeros" if self.zeros else "error"}

    def joined(self, planes: Sequence[NDArray[Any] | None], axis: int) -> NDArray[Any]:
        """Return images of one channel each as one of as many channels.

        Args:
            planes: In the order of the names, of one shape and type, with one channel at `axis`; None where it is missing.
            axis: 0 or -1.

        Raises:
            ImageError: If one is missing and is not to be filled, all are, or shapes differ; names it.
        """
        there = [(name, plane) for name, plane in zip(self.names, planes, strict=True) if plane is not None]
        lacking = [name for name, plane in zip(self.names, planes, strict=True) if plane is None]
        if not there or (lacking and not self.zeros):
            remedy = "" if not there else "; data.missing_channels=zeros when training fills it with zeros"
            raise ImageError(f"lacks the image of channel {lacking[0]!r}{remedy}")
        first, like = there[0]
        for name, plane in there:
            if plane.shape != like.shape:
                one, other = (" x ".join(map(str, np.moveaxis(p, axis, 0).shape[1:])) for p in (plane, like))
                raise ImageError(f"channel {name!r} has {one} pixels, channel {first!r} has {other}; resample them to one shape")
        return np.concatenate([np.zeros_like(like) if plane is None else plane for plane in planes], axis=axis)

    def read(self, given: Mapping[str, Any], read: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        """Return what a user gives by name, (..., C): name → image; None, or left out, where it is missing.

        Args:
            given: The images.
            read: Turns one into (..., 1) pixels.

        Raises:
            UnknownNameError: If a name is none of the channels'.
            ImageError: As `joined`, or if an image cannot be read.
        """
        for name in given:
            if name not in self.names:
                raise UnknownNameError("channel", str(name), self.names)
        planes = [None if given.get(name) is None else read(given[name]) for name in self.names]
        refuse_apart([(name, given[name]) for name in self.names if given.get(name) is not None])
        return np.ascontiguousarray(self.joined(planes, -1))


def takes_planes(card: Mapping[str, Any]) -> bool:
    """Whether a model takes files whose planes are the channels of one image, by the card of its data."""
    return card.get("frames") == "channels" or card.get("stack") is not None
