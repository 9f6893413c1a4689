"""What the service must know of a kind of sample, and nothing else of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from medzoo.export.service.limits import Held

Row = dict[str, NDArray[Any]]
"""Output name → what one sample has of it."""


@dataclass(frozen=True)
class Ready:
    """A sample that was read and can be run.

    Attributes:
        key: What samples of one batch have in common.
        work: What `Kind.run` takes of it.
        named: JSON-ready: what the answer calls it by, before what the model says.
        shown: JSON-ready: what the model got, behind it.
    """

    key: Hashable
    work: Any
    named: Mapping[str, Any]
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tensor:
    """An input of the open inference protocol; -1 in its shape stands for any number."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Kind(Protocol):
    """A kind of sample, of one model."""

    def of_request(self, given: Mapping[str, Any]) -> list[Any]:
        """Return the samples of a request to `/predict`, unread; RefusedError if it is not of this kind.

        Args:
            given: See `medzoo.export.service.asked.Asked`.
        """

    def of_tensors(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Return the samples of tensors by name, unread; RefusedError if they are not this model's."""

    def count(self, sample: Any) -> int:
        """Return how many images a sample holds, at least 1: what limits are counted in."""

    def name(self, sample: Any) -> str:
        """Return what a refusal calls a sample."""

    def read(self, sample: Any, held: Held, preview: bool) -> Ready:
        """Decode a sample, in a thread; RefusedError if it cannot be, or there is no memory for it."""

    def run(self, works: Sequence[Any], beside: Mapping[str, Any]) -> list[Row]:
        """Run samples of one key as `OnnxModel` does.

        Args:
            works: What `read` made of each.
            beside: What a request has beside its images: corrected concepts, class vectors.
        """

    def joined(self, rows: Sequence[Row]) -> Row:
        """Return outputs of samples as the graph would of all of them."""

    def tensors(self) -> list[Tensor]:
        """Return what the open inference protocol calls its inputs."""

    def described(self) -> dict[str, Any]:
        """Return what `/model` says of it."""

    def parts(self, files: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parts of a form by name, as JSON Schema; `files` is that of several files."""

    def sample(self, file: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return `sample` of a JSON request as JSON Schema; None of what is sent as `images`; `file` is that of one file."""
