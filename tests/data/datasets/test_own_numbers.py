"""Labels that are numbers: where they count from, and one number in two writings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.cli import main
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from medzoo.data.tables.words import look_alike
from tests.data.datasets.own_tables import frame, load_table, write_images

NAMES = ["benign", "indeterminate", "malignant"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, list(frame()["image"]))
    return tmp_path


def written(folder: Path, *labels: Any, **columns: Any) -> Path:
    frame(label=[labels[n % len(labels)] for n in range(12)], **columns).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


@pytest.mark.parametrize("labels", [("1", "2"), ("1", "2", "3"), ("2.0", "1.0"), ("3", "3"), ("01", "02", "03")])
@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_numbers_without_a_0_may_count_from_1_and_are_asked_about(labels: tuple[str, ...], kind: str, folder: Path) -> None:
    file = written(folder, *labels)
    with pytest.raises(MedzooError, match=r"none of them 0, and numbers are places in data\.names, from 0") as caught:
        load_table(file, names=NAMES, kind=kind)
    options = re.findall(r"data\.map_values=(\{\w+: \{.*?\}\})", str(caught.value))
    assert len(options) == (1 if max(map(float, labels)) == 3 else 2)
    for option, start in zip(options, (1, 0), strict=False):  # each remedy is one that the command line takes
        arguments = [f"data.file={file}", "data.target=label", "data.group=patient", f"data.names=[{','.join(NAMES)}]"]
        assert main(["verify", "data=table", *arguments, f"data.map_values={option}"]) == 0
        values = {word: NAMES[int(float(word)) - start] for word in labels}
        codes = load_table(file, names=NAMES, kind=kind, map_values={"label": values}).table["target"]
        np.testing.assert_array_equal(codes, [int(float(labels[n % len(labels)])) - start for n in range(12)])


def test_numbers_with_a_0_are_places_and_the_notes_say_so(folder: Path) -> None:
    file = written(folder, "0", "2", "0.0", "")
    dataset = load_table(file, names=NAMES)
    np.testing.assert_array_equal(dataset.table["target"], [0, 2, 0, np.nan] * 3)
    assert "'label' holds places in data.names, from 0: 0 is read as 'benign', 2 is read as 'malignant'" in dataset.info.notes


def test_a_0_in_any_split_of_the_table_counts(folder: Path) -> None:
    file = written(
        folder, "1", "2", "1", "0", split=["train", "train", "train", "test"] * 3, patient=[f"P{n}" for n in range(12)]
    )
    np.testing.assert_array_equal(load_table(file, names=NAMES, split="split").table["target"], [1, 2, 1, 0] * 3)


def test_numbers_that_are_names_or_beyond_them_are_no_places(folder: Path) -> None:
    assert not any("places" in note for note in load_table(written(folder, "1", "2"), names=["1", "2", "3"]).info.notes)
    with pytest.raises(MedzooError, match="unknown class '7'"):
        load_table(written(folder, "1", "7"), names=NAMES)


@pytest.mark.parametrize(
    ("grades", "one", "other"),
    [(("0", "1", "+1", "2"), "+1", "1"), (("0", "1", "１", "2"), "1", "１"), (("0", "1", "01", "3"), "01", "1"),
     (("0", "-0", "1"), "-0", "0"), (("1", "1e0", "2"), "1", "1e0")],
)  # fmt: skip
def test_grades_of_equal_value_are_refused(
    grades: tuple[str, ...], one: str, other: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(folder, *grades)
    with pytest.raises(
        MedzooError, match=rf"'label' of t\.csv: '{re.escape(one)}' and '{re.escape(other)}' are one number"
    ) as caught:
        load_table(file, kind="ordinal")
    said = re.search(r"map_values: (\{label: \{.*?\}\})", str(caught.value))
    assert said is not None
    (folder / "conf" / "data").mkdir(parents=True)
    text = f"defaults: [table, _self_]\nfile: {file}\ntarget: label\nkind: ordinal\ngroup: patient\nmap_values: {said[1]}\n"
    (folder / "conf" / "data" / "own.yaml").write_text(text, encoding="utf-8")
    gap = {"0", "3"} <= set(grades)
    arguments = ["verify", "--config-dir", str(folder / "conf"), "data=own", *(["data.names=[0,1,3]"] if gap else [])]
    assert main(arguments) == 0, capsys.readouterr().err
    with pytest.raises(MedzooError, match=r"data\.names: .* are one number"):
        load_table(file, kind="ordinal", names=sorted(grades))
    assert load_table(file).labels is not None  # of classes two writings stay apart, and verify names them
    assert look_alike(grades) == [tuple(sorted((one, other)))]


@pytest.mark.parametrize("names", [None, ["0", "01", "1"]])
def test_folders_of_grades_of_equal_value_are_refused(names: list[str] | None, tmp_path: Path) -> None:
    write_images(tmp_path, [f"{name}/{n}.png" for name in ("0", "01", "1") for n in range(4)])
    with pytest.raises(MedzooError, match="'01' and '1' are one number and would be two grades"):
        load_dataset("folder", root=tmp_path, ordinal=True, names=names)
    assert load_dataset("folder", root=tmp_path).labels is not None


def test_names_that_yaml_read_as_other_numbers_are_to_be_quoted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(folder, "008", "009", "010", "011")
    (folder / "conf" / "data").mkdir(parents=True)
    text = f"defaults: [table, _self_]\nfile: {file}\ntarget: label\ngroup: patient\nnames: [008, 009, 010, 011]\n"
    (folder / "conf" / "data" / "own.yaml").write_text(text, encoding="utf-8")
    assert main(["verify", "--config-dir", str(folder / "conf"), "data=own"]) == 2
    assert "unknown class '010'; " in (said := capsys.readouterr().err)
    assert "quote numbers that begin with 0 (in YAML, 010 is another number than '010')" in said
    (folder / "conf" / "data" / "own.yaml").write_text(text.replace("010, 011", "'010', '011'"), encoding="utf-8")
    assert main(["verify", "--config-dir", str(folder / "conf"), "data=own"]) == 0


@pytest.mark.parametrize(("one", "other"), [("+1", "1"), ("1e3", "1000"), ("-0", "0"), ("1.50e1", "15"), ("12e-1", "1.2")])
def test_one_number_in_two_writings_looks_alike(one: str, other: str) -> None:
    assert look_alike([one, other, "x"]) == [tuple(sorted((one, other)))]


@pytest.mark.parametrize(("one", "other"), [("-1", "1"), ("1e3", "1e4"), ("1" * 20, "1" * 19 + "2"), ("1e", "1"), ("1.2", "12")])
def test_two_numbers_do_not_look_alike(one: str, other: str) -> None:
    assert look_alike([one, other]) == []
