"""`medzoo search`: the images of an embeddings file that are most like a given one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.evaluation.embeddings import Embeddings

FILE = "embeddings.parquet"
"""In a run directory, as `medzoo.store.directory.RunDirectory` names it; not asked, for that would wait for torch."""


@dataclass(frozen=True)
class Neighbour:
    """One image that was found.

    Attributes:
        rank: 1 for the most similar.
        sample_id: Of the image's first row.
        similarity: Cosine, −1..1.
        image_key: Which image it is.
        split: train, val or test.
        text: Its first row's caption; empty without.
        label: What is true of it; empty where that is unknown, or the file has no labels.
        group: Its patient, or whatever no split may cut.
        same_group: Whether that is the query's own; False where the query is no sample of the file.
    """

    rank: int
    sample_id: str
    similarity: float
    image_key: str
    split: str
    text: str
    label: str = ""
    group: str = ""
    same_group: bool = False


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status, and raises a MedzooError on a mistake of the user's."""
    parser = argparse.ArgumentParser(prog="medzoo search", description="Find the images of an embeddings file most like one.")
    parser.add_argument("embeddings", type=Path, help="an embeddings.parquet of medzoo's, or the run directory it lies in")
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--like", metavar="SAMPLE_ID", help="a sample of the file, of any split; it is not among the results")
    query.add_argument("--image", metavar="FILE", type=Path, help="an image file; the run's model embeds it")
    query.add_argument("--vector", metavar="FILE.npy", type=Path, help="one vector of the same model's")
    parser.add_argument("--run", metavar="RUN", type=Path, help="with --image, where the model is (default: beside the file)")
    parser.add_argument("--other-groups", action="store_true", help="with --like, leave out images of the sample's own patient")
    parser.add_argument("-k", type=int, default=5, help="how many images (default 5)")
    parser.add_argument("--split", help="search this split alone (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(list(arguments))
    if given.run is not None and given.image is None:
        parser.error("--run says where the model for --image is; leave it out")
    if given.other_groups and given.like is None:
        parser.error("--other-groups needs --like: whose image another one is is not known")
    file = given.embeddings / FILE if given.embeddings.is_dir() else given.embeddings
    embeddings = Embeddings.read(file)
    if given.like is not None:
        found = search_like(embeddings, given.like, given.k, given.split, other_groups=given.other_groups)
    elif given.image is not None:
        from medzoo.commands.search_image import image_vector

        run = file.parent if given.run is None else given.run
        found = search_vector(embeddings, image_vector(given.image, embeddings, run), given.k, given.split)
    else:
        found = search_vector(embeddings, read_vector(given.vector), given.k, given.split)
    unit = str(embeddings.details.get("split_unit", "group"))
    for line in format_neighbours(found, as_json=given.json, unit=unit):
        print(line)
    return 0


def search_like(
    embeddings: Embeddings, sample_id: str, k: int, split: str | None = None, *, other_groups: bool = False
) -> list[Neighbour]:
    """Find the k images most like a sample's, of any split; the sample's own image is not among them.

    Arguments and errors are those of `search_vector`; UnknownNameError if there is no such sample, too. With `other_groups` no
    image of the sample's group is among them.
    """
    rows = np.flatnonzero([name == sample_id for name in embeddings.sample_id])
    if not len(rows):
        raise UnknownNameError("sample", sample_id, map(str, embeddings.sample_id), where=" in the embeddings")
    own, group = str(embeddings.image_key[rows[0]]), str(embeddings.group[rows[0]])
    return search_vector(embeddings, embeddings.image[rows[0]], k, split, without=own, group=group, other_groups=other_groups)


def search_vector(
    embeddings: Embeddings, vector: NDArray[Any], k: int, split: str | None = None, without: str | None = None,
    group: str | None = None, *, other_groups: bool = False
) -> list[Neighbour]:  # fmt: skip
    """Find the images most like a vector, by cosine similarity; ties go to the earlier row.

    Args:
        embeddings: Where to search.
        vector: (E,), finite and not zero, of the model that made the embeddings.
        k: How many.
        split: Where the images found must be; None: anywhere.
        without: Image key that is passed over.
        group: The query's, where it is known.
        other_groups: Pass over all images of that group.

    Raises:
        UnknownNameError: If there is no such split.
        EvaluationError: If the vector does not fit, or there are not k images.
    """
    gallery = embeddings if split is None else embeddings.of_split(split)
    if other_groups:
        keep = np.array([own != group for own in gallery.group])
        if not keep.any():
            raise EvaluationError(f"there are no images of other groups{f' in split {split}' if split else ''}")
        gallery = gallery.take(keep)
    images = gallery.image_key[gallery.first_rows]
    passed = int(any(key == without for key in images))
    if not 1 <= k <= len(images) - passed:
        other, place = "other " if passed else "", f" in split {split}" if split else ""
        of = " of other groups" if other_groups else ""
        raise EvaluationError(f"k={k}: there are {len(images) - passed} {other}images{of}{place}; choose a k from 1 to that")
    rows, similarities = gallery.nearest(np.asarray(vector)[None], k + passed)
    kept = [(row, alike) for row, alike in zip(rows[0], similarities[0], strict=True) if gallery.image_key[row] != without][:k]
    found = []
    for rank, (row, alike) in enumerate(kept, start=1):
        columns = (gallery.sample_id, gallery.image_key, gallery.split, gallery.text)
        sample_id, image_key, part, text = (str(column[row]) for column in columns)
        own = str(gallery.group[row])
        found.append(
            Neighbour(rank, sample_id, float(alike), image_key, part, text, label_text(gallery, int(row)), own, own == group)
        )
    return found


def label_text(embeddings: Embeddings, row: int) -> str:
    """Return what is true of a row's image: its class, its findings (`none` where all are absent), its quantities."""
    if embeddings.labels is None or embeddings.targets is None or np.isnan(embeddings.targets[row]).all():
        return ""
    known = [
        (name, value) for name, value in zip(embeddings.labels.names, embeddings.targets[row], strict=True) if value == value
    ]
    if embeddings.labels.kind == "regression":
        return ", ".join(f"{name} {value:.4g}" for name, value in known)
    return ", ".join(name if value == 1 else f"{name} {value:.2f}" for name, value in known if value > 0) or "none"


def read_vector(path: Path) -> NDArray[Any]:
    """Read one vector (E,) from a NumPy file of shape (E,) or (1, E).

    Raises:
        EvaluationError: If the file is missing, is not a .npy file of numbers, or holds several vectors.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise EvaluationError(f"no such file: {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise EvaluationError(f"cannot read {path} as a .npy file of numbers: {type(error).__name__}") from error
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.floating):
        raise EvaluationError(f"{path} does not hold one array of floating-point numbers; save one with numpy.save")
    if values.ndim not in (1, 2) or (values.ndim == 2 and len(values) != 1):
        raise EvaluationError(f"{path} holds an array of shape {list(values.shape)}; give one vector")
    return values.reshape(-1)


def format_neighbours(found: Sequence[Neighbour], *, as_json: bool, unit: str = "group") -> Iterator[str]:
    """Yield one line an image: JSON with everything known of it, or its sample, similarity and label.

    `unit` is what a group is; that an image is of the query's own is said.
    """
    width = max((len(neighbour.sample_id) for neighbour in found), default=0)
    for neighbour in found:
        if as_json:
            yield json.dumps(vars(neighbour), ensure_ascii=False)
        else:
            said = [neighbour.label, f"(same {unit})" if neighbour.same_group else ""]
            yield "  ".join([f"{neighbour.sample_id:<{width}}", f"{neighbour.similarity:.4f}", *filter(None, said)])
