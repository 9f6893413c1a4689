"""The embeddings file: what is written comes back, what is damaged is one line, and nearest is scikit-learn's nearest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

import medzoo.evaluation.embeddings as module
from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.embeddings import Embeddings, unit_rows


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    return unit_rows(vectors).astype(np.float32)


def embeddings(rows: int = 50, width: int = 8, seed: int = 0) -> Embeddings:
    rng = np.random.default_rng(seed)
    text = np.array([f"caption {i}" if i % 3 else "" for i in range(rows)], dtype=object)
    spoken = unit(rng.normal(size=(rows, width)))
    spoken[text == ""] = np.nan
    return Embeddings(
        sample_id=np.array([f"s{i}" for i in range(rows)], dtype=object),
        split=np.array(["train" if i % 2 else "test" for i in range(rows)], dtype=object),
        group=np.array([f"p{i // 2}" for i in range(rows)], dtype=object),
        image=unit(rng.normal(size=(rows, width))),
        image_key=np.array([f"i{i}" for i in range(rows)], dtype=object),
        text=text,
        text_embedding=spoken,
        spec_hash="abc",
        details={"split_unit": "patient", "epoch": 3},
    )


@pytest.mark.parametrize("spoken", [True, False])
def test_a_written_file_comes_back(tmp_path: Path, spoken: bool) -> None:
    given = embeddings() if spoken else replace(embeddings(), text_embedding=None)
    path = tmp_path / "lr=0.1" / "embeddings.parquet"  # a folder of a sweep, which is no column
    given.write(path)
    back = Embeddings.read(path)
    for name in ("sample_id", "split", "group", "image", "image_key", "text"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name))
    assert back.image.dtype == np.float32
    if spoken:
        np.testing.assert_array_equal(back.text_embedding, given.text_embedding)
    else:
        assert back.text_embedding is None
    assert back.spec_hash == "abc"
    assert back.details == {"split_unit": "patient", "epoch": 3}


def test_other_tools_read_the_vectors_as_lists_of_one_width(tmp_path: Path) -> None:
    given = embeddings()
    given.write(tmp_path / "e.parquet")
    table = pq.ParquetFile(tmp_path / "e.parquet").read()
    assert table.schema.field("image").type.list_size == 8
    np.testing.assert_array_equal(np.array(table["image"].to_pylist(), dtype=np.float32), given.image)


def test_a_file_of_several_row_groups_is_read_whole(tmp_path: Path) -> None:
    given = embeddings()
    given.write(tmp_path / "e.parquet")
    pq.write_table(pq.ParquetFile(tmp_path / "e.parquet").read(), tmp_path / "parts.parquet", row_group_size=7)
    np.testing.assert_array_equal(Embeddings.read(tmp_path / "parts.parquet").image, given.image)


def test_a_split_is_its_rows() -> None:
    part = embeddings().of_split("test")
    assert list(part.sample_id) == [f"s{i}" for i in range(0, 50, 2)]
    np.testing.assert_array_equal(part.image, embeddings().image[::2])
    np.testing.assert_array_equal(part.text_embedding, embeddings().text_embedding[::2])  # type: ignore[index]
    assert part.spec_hash == "abc"
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        embeddings().of_split("tests")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    with pytest.raises(EvaluationError, match="no embeddings file"):
        Embeddings.read(path)
    embeddings(4000).write(path)
    whole = path.read_bytes()
    for content in (whole[:-40], whole[: len(whole) // 2], b"", b"PAR1 but not truly PAR1"):
        path.write_bytes(content)
        with pytest.raises(EvaluationError, match=r"e\.parquet is damaged"):
            Embeddings.read(path)
    for place in (len(whole) // 4, len(whole) // 2):  # one flipped bit among the vectors
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(EvaluationError, match="damaged"):
            Embeddings.read(path)


def rewritten(path: Path, metadata: dict[bytes, bytes] | None, **columns: Any) -> Path:
    embeddings().write(path)
    table = pq.ParquetFile(path).read()
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table if metadata is None else table.replace_schema_metadata(metadata), path)
    return path


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    with pytest.raises(EvaluationError, match="not a medzoo embeddings file"):
        Embeddings.read(rewritten(path, {}))
    with pytest.raises(EvaluationError, match="not one of embeddings"):
        Embeddings.read(rewritten(path, {b"medzoo": b'{"format": 1, "labels": {}}'}))
    with pytest.raises(EvaluationError, match="has format 2, this medzoo reads 1"):
        Embeddings.read(rewritten(path, {b"medzoo": b'{"format": 2, "kind": "embeddings"}'}))


def test_a_width_other_than_promised_is_named(tmp_path: Path) -> None:
    narrow = pa.FixedSizeListArray.from_arrays(pa.array(embeddings().image[:, :4].reshape(-1)), 4)
    with pytest.raises(EvaluationError, match=r"column image holds .*\[4\]; the file promises .*\[8\]"):
        Embeddings.read(rewritten(tmp_path / "e.parquet", None, image=narrow))


def test_what_is_not_an_embedding_is_refused() -> None:
    given = embeddings()
    assert given.text_embedding is not None
    with pytest.raises(EvaluationError, match=r"not float32 \[rows, width\]"):
        replace(given, image=given.image.astype(np.float64))
    with pytest.raises(EvaluationError, match="text embeddings are float32"):
        replace(given, text_embedding=given.text_embedding[:, :4])
    with pytest.raises(EvaluationError, match="group is not one text for each of the 50"):
        replace(given, group=given.group[:-1])
    with pytest.raises(EvaluationError, match="text is not one text"):
        replace(given, text=np.where(given.text == "", None, given.text))
    with pytest.raises(EvaluationError, match=r"image embedding of 's0' has length 2, not 1 \(50 such rows\)"):
        replace(given, image=2 * given.image)
    broken = given.image.copy()
    broken[7, 0] = np.nan
    with pytest.raises(EvaluationError, match=r"'s7' has length nan, not 1 \(1 such rows\)"):
        replace(given, image=broken)
    with pytest.raises(EvaluationError, match=r"text embedding of 's0' stands without a caption"):
        replace(given, text_embedding=given.image)


@pytest.mark.parametrize("tile", [1, 7, 2048])
def test_nearest_is_that_of_scikit_learn(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE", tile)
    given = embeddings(200, 16)
    query = np.random.default_rng(1).normal(size=(30, 16)) * 5  # of any length
    distances, indices = NearestNeighbors(n_neighbors=6, metric="cosine").fit(given.image.astype(np.float64)).kneighbors(query)
    rows, similarities = given.nearest(query, 6)
    np.testing.assert_array_equal(rows, indices)
    np.testing.assert_allclose(similarities, 1 - distances, atol=2e-9)


@pytest.mark.parametrize("tile", [2, 3, 2048])
def test_ties_go_to_the_earlier_row(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE", tile)
    one = embeddings(1, 64).image[0]
    image = np.stack([one, -one, one, one, -one, one, one])
    given = replace(embeddings(7, 64), image=image)
    rows, similarities = given.nearest(np.stack([one, -one]), 4)
    np.testing.assert_array_equal(rows, [[0, 2, 3, 5], [1, 4, 0, 2]])
    np.testing.assert_allclose(similarities, [[1, 1, 1, 1], [1, 1, -1, -1]], atol=1e-7)


def test_an_image_of_several_rows_is_found_once_by_its_first() -> None:
    image = unit(np.array([[1, 0], [1, 0.1], [0, 1], [1, 0], [-1, 0]]))
    given = replace(embeddings(5, 2), image=image, text_embedding=None, image_key=np.array(["a", "b", "c", "b", "a"], object))
    rows, _ = given.nearest(np.array([[1.0, 0.0], [-1.0, 0.0]]), 3)
    # Rows 3 and 4 would be nearest to the two queries; they show images that rows 1 and 0 stand for.
    np.testing.assert_array_equal(rows, [[0, 1, 2], [2, 1, 0]])
    with pytest.raises(EvaluationError, match="4 nearest of 3 distinct images"):
        given.nearest(np.ones((1, 2)), 4)


@pytest.mark.parametrize("query", [np.ones((1, 7)), np.ones(8), np.zeros((1, 8)), np.full((1, 8), np.nan)])
def test_a_query_without_direction_or_of_another_width_is_refused(query: NDArray[Any]) -> None:
    with pytest.raises(EvaluationError, match=r"width of the embeddings|no direction"):
        embeddings().nearest(query, 1)


def test_what_is_known_of_the_images_comes_back_and_files_of_before_know_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(2, size=(50, 2)).astype(np.float32)
    targets[3] = np.nan
    known = pd.DataFrame({"site": ["a", None] * 25, "age": np.where(np.arange(50) % 7, 40.0, np.nan)})
    given = replace(
        embeddings(), text_embedding=None, length=rng.random(50).astype(np.float32) + 1, subgroups=known, targets=targets,
        labels=LabelSpace("multilabel", ("mass", "cyst")),
    )  # fmt: skip
    given.write(tmp_path / "e.parquet")
    back = Embeddings.read(tmp_path / "e.parquet")
    assert back.labels == given.labels
    np.testing.assert_array_equal(back.targets, targets)
    np.testing.assert_array_equal(back.features, given.image * given.length[:, None])  # type: ignore[index]
    assert back.subgroups is not None
    pd.testing.assert_frame_equal(back.subgroups, known, check_dtype=False)
    part = back.take(np.array([4, 3]))
    assert part.subgroups is not None
    assert part.targets is not None
    assert part.subgroups["site"].fillna("unknown").tolist() == ["a", "unknown"]
    np.testing.assert_array_equal(part.targets, targets[[4, 3]])
    embeddings().write(tmp_path / "before.parquet")
    before = Embeddings.read(tmp_path / "before.parquet")
    assert (before.length, before.labels, before.targets, before.subgroups) == (None, None, None, None)
    np.testing.assert_array_equal(before.features, before.image)
    table = pq.ParquetFile(tmp_path / "e.parquet").read()
    pq.write_table(table.drop_columns(["target.cyst"]), tmp_path / "e.parquet")
    with pytest.raises(EvaluationError, match="is damaged or not a medzoo embeddings file: KeyError"):
        Embeddings.read(tmp_path / "e.parquet")
    with pytest.raises(EvaluationError, match="targets are not 2 values for each of the 50"):
        replace(given, targets=targets[:, :1])
