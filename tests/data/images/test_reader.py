"""What a reader is: the defaults, the views of a row, the files they lie in, and what makes two images the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medzoo.data.dataset import ArrayReader, Reader
from medzoo.data.datasets.olives.parquet import ParquetReader
from medzoo.data.errors import DatasetError
from medzoo.data.images.files import FileReader, StackReader
from medzoo.data.registry import load_dataset
from medzoo.data.samples.packed.images import PackedReader


@dataclass(frozen=True)
class Plain(Reader):
    columns: tuple[str, ...] = ("name", "age")

    def read(self, *values: Any) -> np.ndarray:
        return np.zeros((1, 2, 2), np.uint8)


def test_what_a_reader_does_not_say_has_a_default() -> None:
    reader = Plain()
    assert (reader.views, reader.channels, reader.window, reader.prepared, reader.shape) == (False, None, None, None, None)
    assert reader.images("a", float("nan")) == {0: ("a", pytest.approx(float("nan"), nan_ok=True))}
    assert reader.files("a", 1) == []
    assert reader.identity("a", 1) is None


def test_an_array_is_a_reader() -> None:
    arrays = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    reader = ArrayReader(arrays)
    assert isinstance(reader, Reader)
    assert reader.shape == (3, 4, 5)
    np.testing.assert_array_equal(reader.read(1), arrays[1])


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_views_that_are_missing_are_no_images(missing: Any) -> None:
    reader = FileReader(Path("films"), ("one", "two", "three"), views=True)
    assert reader.images("a.png", missing, "c.png") == {0: ("a.png",), 2: ("c.png",)}
    assert reader.images(missing, missing, missing) == {}


def test_files_are_known_by_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "films")
    for reader, value, files in (
        (FileReader(tmp_path / "link"), "a/1.png", ["a/1.png"]),
        (StackReader(tmp_path / "link"), "1.png|2.png", ["1.png", "2.png"]),
    ):
        assert reader.files(value) == [tmp_path / "link" / name for name in files]
        assert reader.identity(value) == f"{(tmp_path / 'films').resolve()}/{value}"
        assert reader.identity(None) is None
        assert reader.shape is None
    assert StackReader(tmp_path).channels == 1
    shards = ParquetReader(tmp_path)  # many images lie in one file
    assert shards.files("s.parquet", 0, 1) == [tmp_path / "s.parquet"]
    assert shards.identity("s.parquet", 0, 1) is None


def test_a_prepared_reader_must_say_how() -> None:
    with pytest.raises(TypeError, match="prepared"):
        PackedReader(Path("folder"))  # type: ignore[call-arg]


def test_what_is_no_reader_is_refused_in_one_line() -> None:
    class Loose:
        columns = ("sample_id",)
        shape = None

        def read(self, *values: Any) -> np.ndarray:
            return np.zeros((1, 2, 2), np.uint8)

    dataset = load_dataset("phantom", patients=10)
    with pytest.raises(DatasetError, match=r"Loose is not a Reader; derive it: class Loose\(medzoo\.data\.dataset\.Reader\)"):
        replace(dataset, reader=Loose())  # type: ignore[arg-type]
