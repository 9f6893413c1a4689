"""YAML of the user's own, whatever it holds: one line that names the file; and words that spelling alone would misread."""

from __future__ import annotations

from pathlib import Path

import pytest

from medzoo.cli import main
from medzoo.data.errors import nearest
from medzoo.data.samples.policies import POLICIES
from medzoo.settings.compose import compose_config


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


OWN = {
    "a tab": (b"defaults: [table, _self_]\nfile: labels.csv\n\ttarget: label\n", ["mine.yaml, line 3"]),
    "an open bracket": (b"defaults: [table, _self_]\nimages: [a, b\n", ["mine.yaml, line"]),
    "a colon in a value": (b"defaults: [table, _self_]\nfile: a: b\n", ["mine.yaml, line 2"]),
    "an unknown alias": (b"file: *nothing\n", ["mine.yaml, line 1"]),
    "no name": (b"file: labels.csv\ntarget: label\n", ["mine.yaml names no dataset", "defaults: [table, _self_]"]),
    "nothing": (b"", ["names no dataset"]),
    "a name that is a number": (b"name: 3\n", ["names no dataset"]),
    "a name that is none": (b"name: medmist\n", ["did you mean 'medmnist'"]),
    "a list": (b"- a\n- b\n", ["mine.yaml"]),
    "one word": (b"table\n", ["mine.yaml"]),
    "a number for an option": (b"name: table\n1: 2\n", ["1"]),
    "Latin letters in their own code": (b"name: table\nfile: caf\xe9.csv\n", ["mine.yaml"]),
    "a zero byte": (b"name: table\x00\n", ["mine.yaml"]),
    "a class of Python's": (b"name: !!python/object:os.system x\n", ["mine.yaml"]),
    "a default that is not there": (b"defaults: [tabel, _self_]\n", ["tabel", "did you mean 'table'"]),
    "an interpolation of nothing": (b"name: table\nfile: ${nowhere}\n", ["nowhere"]),
    "a reference left open": (b"name: table\nroot: 'images/${ b'\n", ["mine.yaml: root: 'images/${ b'", "written \\${"]),
    "a reference left open in a list": (b"name: table\nnames: [a, '${']\n", ["mine.yaml: names[1]: '${'", "written \\${"]),
    "an unknown option": (b"name: table\nfiel: x\n", ["'fiel'"]),
}


@pytest.mark.parametrize("kind", OWN)
def test_whatever_a_file_holds_is_one_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, wanted = OWN[kind]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_bytes(content)
    for verb in ("verify", "train", "prepare"):
        line = said(capsys, verb, "--config-dir", str(tmp_path), "data=mine")
        for word in wanted:
            assert word in line, line


@pytest.mark.parametrize(
    ("verb", "given", "told"),
    [
        ("evaluate", "evaluation.splits=test", "evaluation.splits is a list: evaluation.splits=[...]"),
        ("train", "trainer.trackers=tensorboard", "trainer.trackers is a list: trainer.trackers=[...]"),
        ("intervene", "set={sign: 1}", "set takes its names one by one: set.<name>=<value>"),
        ("verify", "data.encoding=5", "data.encoding=5 is no name of an encoding"),
        ("verify", "data.split_rule='2'", "data.split_rule='2' is neither 1"),
    ],
)
def test_a_value_of_another_kind_is_told_how_to_write_it(
    verb: str, given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("image,label\na.png,x\n")
    data = ["data=table", f"data.file={tmp_path / 't.csv'}", "data.target=label"] if verb == "verify" else []
    assert told in said(capsys, verb, *data, given)


@pytest.mark.parametrize("given", ["data.root=a${", 'data.root="a${ b"', "data.root=${}", "+data.notes=['${']"])
def test_a_reference_left_open_is_told_how_to_write_the_signs(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = said(capsys, "train", "data=folder", given)
    assert given in line
    assert "written \\${" in line


def test_escaped_signs_are_themselves() -> None:
    assert compose_config("train", ["data=folder", 'data.root="a\\${ b"']).data.root == "a${ b"


@pytest.mark.parametrize("verb", ["evaluate", "export", "intervene", "explain", "bench"])
def test_another_dataset_for_a_run_is_one_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "data" in said(capsys, verb, "run=x", "data=medmnist")


def test_a_dataset_beside_images_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = said(capsys, "zeroshot", "images=[x]", "classes=[a,b]", "data=medmnist")
    assert "data=medmnist: with images=[...] no dataset is used" in line


@pytest.mark.parametrize(
    ("word", "options", "meant"),
    [
        ("gpu", ["cpu", "cuda", "tensorrt"], ["cuda"]),
        ("dermoscopy", POLICIES, ["skin"]),
        ("Radiograph", POLICIES, ["xray"]),
        ("histopathology", POLICIES, ["histology"]),
        ("validation", ["train", "val", "test"], ["val"]),
        ("mse", ["mae", "rmse", "r2"], ["rmse"]),
        ("gpu", ["input", "cpu"], ["cpu"]),  # cuda is not offered there
        ("microscpy", POLICIES, ["microscopy"]),
    ],
)
def test_a_word_of_the_field_gives_what_it_means(word: str, options: list[str], meant: list[str]) -> None:
    assert nearest(word, options)[: len(meant)] == meant
