"""What is known of a dataset before a file is opened: data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medzoo.data.labels import ConceptSpace, LabelSpace

NO_PATIENT = ("image", "file", "bag")
"""What a group is where no patient is known: an image, or a file with all its frames."""


@dataclass(frozen=True)
class RemoteFile:
    """One file the authors distribute.

    Attributes:
        name: File name under the dataset's root.
        url: Where the authors serve it; empty if it must be obtained by hand.
        checksum: `"md5:..."` or `"sha256:..."` as published by the authors.
    """

    name: str
    url: str
    checksum: str


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset's card.

    Attributes:
        name: Registry name with its variant, such as `medmnist/retinamnist`.
        title: Name in the literature.
        modality: What the images are, one of the keys of `medzoo.data.samples.policies.POLICIES` (`xray`, `skin`, `fundus`, ...).
        licence: The data's own licence (not the code's).
        citation: How the authors ask to be cited.
        homepage: Where the dataset lives.
        labels: The label space, or None for image–text data without labels.
        concepts: The concept space, or None.
        split_unit: What no split may cut: `patient`, `case`, `video`, or one of `NO_PATIENT` where the dataset knows no
            patient (results then say that intervals are per image).
        counts: Split name → number of samples the authors state.
        files: Files with their checksums.
        value_type: What the reader gives: `uint8` (0..255), or `float32` (0..1) for sources of more than 8 bits.
        notes: Traps and limits worth a line in every report.
        population: Whose groups these are: datasets of one population that share a group's name share the patient. None: the
            registry name, for all variants and options.
        populations: Keys of whose groups a user's own data are, beside or in place of that name: where they lie and what they
            hold, as hashes (see `medzoo.data.splits.populations`). Kept in no spec.
    """

    name: str
    title: str
    modality: str
    licence: str
    citation: str
    homepage: str
    labels: LabelSpace | None
    concepts: ConceptSpace | None = None
    split_unit: str = "image"
    counts: Mapping[str, int] = field(default_factory=dict)
    files: tuple[RemoteFile, ...] = ()
    value_type: str = "uint8"
    notes: tuple[str, ...] = ()
    population: str | None = None
    populations: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what a model's spec and a report keep of the dataset (JSON-ready)."""
        kept = ("name", "title", "modality", "licence", "citation", "homepage", "split_unit", "notes", "population")
        return {key: getattr(self, key) for key in kept} | {"notes": list(self.notes)}
