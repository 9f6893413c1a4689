"""`medzoo search`: the right images in the right order, and mistakes in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medzoo.commands.search import main, search_vector
from medzoo.data.errors import EvaluationError, UnknownNameError
from medzoo.data.labels import LabelSpace
from medzoo.evaluation.embeddings import Embeddings

ANGLES = {"east": 0, "near": 10, "east-again": 0, "north": 90, "west": 180, "twin": 25}
"""Sample → degrees; `east-again` is a second row of east's image."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    turns = np.deg2rad(list(ANGLES.values()))
    names = list(ANGLES)
    embeddings = Embeddings(
        sample_id=np.array(names, dtype=object),
        split=np.array(["train", "test", "test", "test", "test", "train"], dtype=object),
        group=np.array(names, dtype=object),
        image=np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32),
        image_key=np.array([name.removesuffix("-again") for name in names], dtype=object),
        text=np.array(["sunrise", "", "dawn", "", "dusk", ""], dtype=object),
    )
    embeddings.write(tmp_path / "e.parquet")
    return tmp_path / "e.parquet"


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    assert main([str(word) for word in arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_sample_finds_its_neighbours_and_not_itself(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, file, "--like", "east", "-k", 4)
    assert lines == ["near   0.9848", "twin   0.9063", "north  0.0000", "west   -1.0000"]
    # Its second row is the same image.
    assert printed(capsys, file, "--like", "east-again", "-k", 4) == lines


def test_a_vector_finds_images_in_one_split(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(file.with_name("v.npy"), np.array([[3.0, 0.0]]))
    lines = printed(capsys, file, "--vector", file.with_name("v.npy"), "-k", 2, "--split", "test", "--json")
    found = [json.loads(line) for line in lines]
    assert [f["sample_id"] for f in found] == ["east-again", "near"]
    assert found[0] == {
        "rank": 1, "sample_id": "east-again", "similarity": 1.0, "image_key": "east", "split": "test", "text": "dawn",
        "label": "", "group": "east-again", "same_group": False,
    }  # fmt: skip
    assert found[1]["similarity"] == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-7)


def test_a_sample_of_another_split_is_a_query_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, file, "--like", "twin", "-k", 1, "--split", "test")
    assert lines[0].startswith("near")


def test_equal_images_ahead_of_the_sample_do_not_push_it_into_the_results(file: Path) -> None:
    embeddings = Embeddings.read(file)
    same = np.repeat(embeddings.image[:1], 6, axis=0)
    alike = Embeddings(
        embeddings.sample_id, embeddings.split, embeddings.group, same, embeddings.sample_id, embeddings.text
    )  # fmt: skip
    found = search_vector(alike, same[0], 3, without="west")
    assert [f.sample_id for f in found] == ["east", "near", "east-again"]
    assert [f.rank for f in found] == [1, 2, 3]


def test_mistakes_are_one_line(file: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown sample 'eastt' in the embeddings; did you mean 'east'"):
        main([str(file), "--like", "eastt"])
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        main([str(file), "--like", "east", "--split", "tset", "-k", "1"])
    with pytest.raises(EvaluationError, match="k=5: there are 4 other images; choose"):
        main([str(file), "--like", "east"])
    with pytest.raises(EvaluationError, match="k=0: there are 4 other images"):
        main([str(file), "--like", "east", "-k", "0"])
    with pytest.raises(EvaluationError, match="there are 3 other images in split test"):
        main([str(file), "--like", "east", "-k", "4", "--split", "test"])
    with pytest.raises(EvaluationError, match="no embeddings file"):
        main([str(file.with_name("absent.parquet")), "--like", "east"])


def test_a_file_that_is_no_vector_is_named(file: Path) -> None:
    path = file.with_name("v.npy")
    for content, message in (
        (None, "no such file"),
        (np.ones((2, 2)), r"shape \[2, 2\]; give one vector"),
        (np.ones(3), "width of the embeddings"),
        (np.zeros(2), "no direction"),
        (np.array(["a", "b"]), "floating-point"),
        (np.array([{"a": 1}], dtype=object), r"as a \.npy file of numbers"),
    ):
        if content is not None:
            np.save(path, content, allow_pickle=True)
        with pytest.raises(EvaluationError, match=message):
            main([str(file), "--vector", str(path), "-k", "1"])
    path.write_bytes(b"not numpy")
    with pytest.raises(EvaluationError, match=r"as a \.npy file of numbers"):
        main([str(file), "--vector", str(path)])


def test_one_query_is_asked_for(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(file)])
    assert "--like" in capsys.readouterr().err


def test_a_patients_other_images_are_told_or_left_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings = Embeddings.read(file)
    targets = np.array([[1, 0], [1, 1], [0, 0], [np.nan, np.nan], [0, 1], [0, 1]], np.float32)
    replace(
        embeddings, group=np.array(["p1", "p1", "p1", "p2", "p3", "p1"], dtype=object), targets=targets,
        labels=LabelSpace("multilabel", ("mass", "cyst")), details={"split_unit": "patient"},
    ).write(file)  # fmt: skip
    near = ["near   0.9848  mass, cyst  (same patient)", "twin   0.9063  cyst  (same patient)"]
    far = ["north  0.0000", "west   -1.0000  cyst"]
    assert printed(capsys, file, "--like", "east", "-k", 4) == near + far
    assert printed(capsys, file, "--like", "east", "-k", 2, "--other-groups") == far
    with pytest.raises(EvaluationError, match="k=3: there are 2 images of other groups"):
        main([str(file), "--like", "east", "-k", "3", "--other-groups"])
    with pytest.raises(EvaluationError, match="no images of other groups in split train"):
        main([str(file), "--like", "east", "-k", "1", "--other-groups", "--split", "train"])
    for words in (["--vector", "v.npy", "--other-groups"], ["--like", "east", "--run", "r"]):
        with pytest.raises(SystemExit):
            main([str(file), *words])
