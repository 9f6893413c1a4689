"""Cases 22 and 24, and their kind: patients and classes written in several ways, and words that mean nothing."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medzoo.cli import main
from medzoo.data.errors import MedzooError
from medzoo.data.images.given import no_text
from medzoo.data.images.modalities import written
from medzoo.data.labels import LabelSpace
from medzoo.data.registry import load_dataset
from tests.data.datasets.own_tables import frame, load_table, splits_of, write_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, list(frame()["image"]))
    return tmp_path


def patients(one: str, other: str) -> list[str]:
    """Three patients of four images, each written in two ways."""
    return [(one, other)[n // 2 % 2].format(n // 4) for n in range(12)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{}", "{}.0"),  # case 22
        ("{}", "{}.00"), ("P{}", " P{}"), ("P{}", "P{}\u00a0"), ("P{}", "\u200bP{}"), ("P{}", "\ufeffP{}"),
        (unicodedata.normalize("NFC", "Jürgen {}"), unicodedata.normalize("NFD", "Jürgen {}")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["csv", "jsonl", "xlsx", "parquet"])
def test_a_patient_written_in_two_ways_is_one_patient(
    one: str, other: str, kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, file = frame(patient=patients(one, other)), folder / f"t.{kind}"
    write = {"csv": table.to_csv, "xlsx": table.to_excel, "parquet": table.to_parquet}
    table.to_json(file, orient="records", lines=True) if kind == "jsonl" else write[kind](file, index=False)
    dataset = load_table(file)
    assert dataset.table["group"].nunique() == 3
    assert set(splits_of(dataset).values()) == {1}
    assert main(["verify", "data=table", f"data.file={file}", "data.target=label", "data.group=patient"]) == 0
    assert "6 cells are another writing of a word and count as it" in capsys.readouterr().out


def test_numbers_with_leading_zeros_stay_apart_and_are_said_to_look_alike(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame(patient=[("7", "007", "P 1", "p_1", "x", "y")[n % 6] for n in range(12)], label=["Benign", "benign"] * 6)
    table.to_csv(folder / "t.csv", index=False)
    assert load_table(folder / "t.csv").table["group"].nunique() == 6
    assert main(["verify", "data=table", f"data.file={folder / 't.csv'}", "data.target=label", "data.group=patient"]) == 0
    out = capsys.readouterr().out
    assert "look at the groups: '007' and '7' look alike (2 such sets)" in out
    assert "look at the classes: 'Benign' and 'benign' look alike" in out


@pytest.mark.parametrize("column", ["split", "id"])
def test_splits_and_names_of_samples_are_read_alike(column: str, folder: Path) -> None:
    words = [f"\u00a0{('train', 'Train ', 'VAL', 'test')[n // 2 % 4]}" for n in range(12)]
    frame(split=words, id=[f"{n}.0" for n in range(12)]).to_csv(folder / "t.csv", index=False)
    dataset = load_table(folder / "t.csv", **{column: column})
    if column == "split":
        assert dataset.table["split"].value_counts().to_dict() == {"train": 8, "val": 2, "test": 2}
    else:
        assert dataset.table["sample_id"].tolist() == [str(n) for n in range(12)]


def test_a_file_in_another_unicode_form_than_the_disk_writes_is_found(folder: Path) -> None:
    names = [unicodedata.normalize("NFD", f"Lésion {n}.png") for n in range(12)]
    write_images(folder, names)
    frame(image=[unicodedata.normalize("NFC", name) for name in names]).to_csv(folder / "t.csv", index=False)
    dataset = load_table(folder / "t.csv")
    assert dataset.table["sample_id"].tolist() == [unicodedata.normalize("NFC", name) for name in names]
    assert dataset.reader.read(dataset.table["path"].iloc[0]).shape == (3, 8, 8)
    assert any("12 file names are written in another Unicode form" in note for note in dataset.info.notes)


NOTHING = ["nan", "NaN", "NA", "N/A", "None", "null", "<NA>", "-", "?", "unknown", "n.a."]


@pytest.mark.parametrize("word", NOTHING)
def test_words_that_mean_nothing_are_asked_about(word: str, folder: Path) -> None:
    """Case 24, each word; listed in data.names it is a class, in data.empty_words missing."""
    labels = [("benign", "malignant", word, "")[n % 4] for n in range(12)]
    frame(label=labels).to_csv(folder / "t.csv", index=False)
    with pytest.raises(
        MedzooError, match=r"^t\.csv line 4: 'label' holds '.+' \(3\): missing\? Say data\.empty_words=\["
    ) as caught:
        load_table(folder / "t.csv")
    assert repr(word) in str(caught.value)
    assert "data.names" in str(caught.value)
    missing = load_table(folder / "t.csv", empty_words=[word])
    assert missing.labels is not None
    assert missing.labels.names == ("benign", "malignant")
    assert missing.table["target"].isna().sum() == 6
    named = load_table(folder / "t.csv", names=["benign", "malignant", word])
    assert named.table["target"].isna().sum() == 3


def test_all_of_them_are_named_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(label=["a", "b", "nan", "NA", "None", ""] * 2).to_csv(folder / "t.csv", index=False)
    assert main(["verify", "data=table", f"data.file={folder / 't.csv'}", "data.target=label", "data.group=patient"]) == 2
    err = capsys.readouterr().err
    assert "'NA' (2), 'None' (2), 'nan' (2): missing? Say data.empty_words=[NA, None, nan]" in err
    assert err.count("\n") == 1
    words = ["data.empty_words=[NA,None,nan]", "data.group=patient", "data.target=label"]
    assert main(["verify", "data=table", f"data.file={folder / 't.csv'}", *words]) == 0


@pytest.mark.parametrize("word", ["nan", "NA", "unknown", "-"])
def test_nobody_is_no_patient(word: str, folder: Path) -> None:
    frame(patient=[word if n < 3 else f"P{n}" for n in range(12)]).to_csv(folder / "t.csv", index=False)
    with pytest.raises(MedzooError, match=r"t\.csv line 2: 'patient' is '.+', which names nobody \(3 such lines\); every sample"):
        load_table(folder / "t.csv")


def test_words_for_nothing_in_other_columns(folder: Path) -> None:
    words = ["nan", "NA", "1", "0"] * 3
    table = frame(split=["nan", "train"] * 6, sign=words, age=["nan", "30", "61", "?"] * 3, report=["None", "a film"] * 6)
    table.to_csv(folder / "t.csv", index=False)
    with pytest.raises(MedzooError, match="line 2: 'split' is 'nan', not train, val or test"):
        load_table(folder / "t.csv", split="split")
    with pytest.raises(MedzooError, match=r"line 2: 'sign' is 'nan', neither 0, 1 nor empty .*data\.empty_words"):
        load_table(folder / "t.csv", concepts=["sign"])
    with pytest.raises(MedzooError, match=r"line 2: 'report' holds 'None' \(6\): missing\? Say data\.empty_words=\[None\]"):
        load_table(folder / "t.csv", caption="report")
    with pytest.raises(MedzooError, match=r"line 2: 'age' is 'nan', not a number .*data\.empty_words"):
        load_table(folder / "t.csv", target="age", kind="regression")
    dataset = load_table(folder / "t.csv", subgroups=["age"])
    assert "subgroup 'age': 6 cells ('?', 'nan') count as missing" in dataset.info.notes
    np.testing.assert_array_equal(dataset.table["age"].iloc[:4], [np.nan, 30, 61, np.nan])  # numbers, not words
    said = load_table(
        folder / "t.csv", concepts=["sign"], caption="report", inputs=["age"], empty_words=["nan", "na", "none", "?"]
    )
    assert (
        said.table["concept.sign"].isna().sum() == said.table["input.age"].isna().sum() == said.table["caption"].isna().sum() == 6
    )


def test_words_for_others(folder: Path) -> None:
    table = frame(label=["A", "P", "X"] * 4, sign=["X", "-1", "", "u"] * 3)
    table.to_csv(folder / "t.csv", index=False)
    dataset = load_table(folder / "t.csv", values={"A": "pathologic", "P": "normal", "X": None, -1: 0, "Q": 1}, target="label")
    assert dataset.labels is not None
    assert dataset.labels.names == ("normal", "pathologic")
    assert dataset.table["target"].isna().sum() == 4
    assert "data.values: no cell holds '-1', 'Q'" in dataset.info.notes
    signs = load_table(folder / "t.csv", target=["sign"], values={"X": 1, -1: 0}, empty_words=["u"])
    np.testing.assert_array_equal(signs.table["target.sign"].iloc[:4], [1, 0, np.nan, np.nan])
    for wrong, message in ((["A"], "is no mapping"), ({"A": [1]}, "neither text nor a number")):
        with pytest.raises(MedzooError, match=message):
            load_table(folder / "t.csv", values=wrong)
    words = ["data.target=label", "data.group=patient", "data.values={A:pathologic,P:normal,X:null}"]
    assert main(["verify", "data=table", f"data.file={folder / 't.csv'}", *words]) == 0


def test_a_gap_between_grades_is_asked_about(folder: Path) -> None:
    """A grade that no row has would count as no step in kappa and in the mean error."""
    frame(label=[(0, 1, 3, 4)[n % 4] for n in range(12)]).to_csv(folder / "t.csv", index=False)
    said = (
        r"grade 2 is in no row of t\.csv: give data\.names=\[0,1,2,3,4\] if it exists, data\.names=\[0,1,3,4\] if these are all$"
    )
    with pytest.raises(MedzooError, match=said):
        load_table(folder / "t.csv", kind="ordinal")
    for names in ([0, 1, 2, 3, 4], [0, 1, 3, 4]):
        labels = load_table(folder / "t.csv", kind="ordinal", names=names).labels
        assert labels is not None
        assert labels.names == tuple(map(str, names))
    assert load_table(folder / "t.csv").labels == LabelSpace("multiclass", ("0", "1", "3", "4"))
    assert load_table(folder / "t.csv", kind="ordinal", split_rule=1).labels == LabelSpace("ordinal", ("0", "1", "3", "4"))
    several = {"one": {"target": "label", "kind": "ordinal"}, "two": "patient"}
    with pytest.raises(MedzooError, match=r"^data\.targets\.one: .* give data\.targets\.one\.names=\["):
        load_dataset("table", file=folder / "t.csv", targets=several)


def test_wide_gaps_list_no_grade_between(folder: Path) -> None:
    frame(label=[(0, 50, 100)[n % 3] for n in range(12)]).to_csv(folder / "t.csv", index=False)
    with pytest.raises(
        MedzooError, match=r"grade 1 between 0 and 100 .* as data\.names=\[\.\.\.\] \(\[0,50,100\] if these are all"
    ):
        load_table(folder / "t.csv", kind="ordinal")


BLANK = ["&nbsp;", " &nbsp; &#160;", "&amp;nbsp;", "&#8203;", "&nbsp", "&zwnj;\u2060"]


def test_texts_of_blanks_in_html_are_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of them is left when they are tokenized, by when no row could be named."""
    told = [*BLANK, "", "a mass &amp; a cyst", "&", "&lt;5 mm", "b", "c"]
    frame(told=told).to_csv(folder / "t.csv", index=False)
    for options, column in (({"caption": "told"}, "caption"), ({"texts": ["told"]}, "text.told")):
        dataset = load_table(folder / "t.csv", **options)
        assert [None if pd.isna(text) else text for text in dataset.table[column]] == [None] * 7 + told[7:]
    assert not written(pd.DataFrame({"text.told": BLANK}), "told").any()
    old = load_table(folder / "t.csv", caption="told", split_rule=1)
    assert old.table["caption"].isna().sum() == 1  # runs of the first rule keep theirs
    data = [f"data.file={folder / 't.csv'}", "data.target=label", "data.group=patient", "data.caption=told"]
    assert main(["verify", "data=table", *data]) == 0
    said = re.findall(r"captions of \w+: (\d+) of (\d+)", capsys.readouterr().out)
    assert [sum(map(int, one)) for one in zip(*said, strict=True)] == [5, 12]


@pytest.mark.parametrize("word", [*BLANK, "", "\u200b", None, float("nan")])
def test_no_text_is_what_a_tokenizer_leaves_nothing_of(word: str | float | None) -> None:
    assert no_text(word)
    assert not any(map(no_text, ("a", "&", "&nbsp;a", "&lt;", "\u200b1")))


@pytest.mark.parametrize("word", ["unlabelled", "Not labeled", "no_label"])
def test_a_word_for_no_label_yet_is_asked_about_as_an_empty_one_is(word: str, folder: Path) -> None:
    frame(label=["benign", "malignant", word] * 4).to_csv(folder / "t.csv", index=False)
    with pytest.raises(MedzooError, match=rf"'label' holds '{word}' \(4\): missing\? Say data\.empty_words"):
        load_table(folder / "t.csv")
    assert load_table(folder / "t.csv", empty_words=[word]).table["target"].isna().sum() == 4
    labels = load_table(folder / "t.csv", names=["benign", "malignant", word]).labels
    assert labels is not None
    assert labels.width == 3
