"""ChestX-ray14: the authors' files in every form they are met in, and each way they can be wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medzoo.cli import main
from medzoo.data import dataset_infos, load_dataset
from medzoo.data.dataset import target_matrix
from medzoo.data.datasets.chestxray14 import load as chestxray14
from medzoo.data.datasets.chestxray14.boxes import load_boxes
from medzoo.data.errors import ConfigError, DatasetError, ImageError
from tests.data.datasets.chestxray14_files import (
    FILMS,
    HEADER,
    box_text,
    many_films,
    table_text,
    write_images,
    write_release,
    write_text,
)

TABLE, NAMES = "Data_Entry_2017_v2020.csv", [film[0] for film in FILMS]
PATIENTS = ["00000001", "00000001", "00000002", "00000003", "00000003", "00000004", "00030805"]  # patients of FILMS
EIGHT = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
FOURTEEN = (*EIGHT, "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")
ONE = {0: [1], 1: [1, 10], 2: [], 3: [13], 4: [3, 13], 5: [0, 4, 12], 6: [5]}  # film → findings, by their place in FOURTEEN


def _load(root, **options):
    return chestxray14.load(root=root, **{"missing": "ignore", **options})


def _fails(root, *parts, error=DatasetError, load=_load, **options):
    with pytest.raises(error) as caught:
        load(root, **options)
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def test_the_cards():
    fourteen, eight = dataset_infos("chestxray14")
    assert fourteen.labels.names == FOURTEEN
    assert eight.labels.names == EIGHT
    for info in (fourteen, eight):
        assert (info.labels.kind, info.split_unit, info.value_type) == ("multilabel", "patient", "uint8")
        assert info.counts == {"train": 86_524, "test": 25_596}
        assert any("do not compare" in note for note in info.notes)


def test_every_column_of_the_table(tmp_path):
    dataset = _load(write_release(tmp_path))
    assert "not the official release: 4/3 films in train/test, officially 86524/25596" in dataset.info.notes
    table = dataset.table
    assert table["sample_id"].tolist() == [f"chestxray14/{name[:-4]}" for name in NAMES]
    assert table["group"].tolist() == PATIENTS
    assert table["split"].tolist() == ["train", "train", "train", "test", "test", "train", "test"]
    assert table["sex"].tolist() == ["male"] * 3 + ["female"] * 3 + ["male"]
    assert table["age"].tolist() == [57, 58, 80, 74, 75, 0, 27]
    assert table["view"].tolist() == ["PA", "PA", "AP", "PA", "PA", "AP", "PA"]
    assert table["follow_up"].tolist() == [0, 1, 0, 0, 1, 0, 0]  # not the number in the file's name


def test_fourteen_labels_and_eight(tmp_path):
    dataset = _load(write_release(tmp_path))
    expected = np.zeros((7, 14), dtype=np.float32)
    for film, findings in ONE.items():
        expected[film, findings] = 1
    np.testing.assert_array_equal(target_matrix(dataset.table, dataset.labels), expected)
    eight = _load(tmp_path, labels=8)
    assert eight.labels.names == EIGHT
    np.testing.assert_array_equal(target_matrix(eight.table, eight.labels), expected[:, :8])
    assert "target.Hernia" not in eight.table
    assert "1 of 7 films have findings outside the 8 alone: all zero" in eight.info.notes
    assert not any("outside" in note for note in dataset.info.notes)


@pytest.mark.parametrize(
    "form",
    [
        {"name": "Data_Entry_2017.csv", "last": ","},
        {"name": "Data_Entry_2017.csv", "last": ",", "header": HEADER.replace("Gender", "Sex")},
        {"name": "Data_Entry_2017.csv.gz"},
        {"name": f"{TABLE}.gz", "bom": True},
        {"lists": "_NIH"},
        {"bom": True, "crlf": True},
        {"bom": True, "crlf": True, "last": ",", "lists": "_NIH"},
    ],
)
def test_every_known_form_of_the_files_reads_the_same(tmp_path, form):
    plain = _load(write_release(tmp_path / "plain"))
    other = _load(write_release(tmp_path / "other", **form))
    pd.testing.assert_frame_equal(other.table, plain.table)
    assert other.info.notes == plain.info.notes


def test_a_trailing_comma_in_the_rows_alone_moves_nothing(tmp_path):
    write_release(tmp_path)
    expected = _load(tmp_path).table
    header, rows = table_text(last=",").split("\n", 1)
    write_text(tmp_path / TABLE, header.removesuffix(",") + "\n" + rows + "\n\n")  # and blank lines at the end
    write_text(tmp_path / "Data_Entry_2017.csv", "the newest of two tables is read and the other named")
    dataset = _load(tmp_path)
    pd.testing.assert_frame_equal(dataset.table, expected)
    assert f"{TABLE} was read; Data_Entry_2017.csv beside it not" in dataset.info.notes


def test_ages_of_the_older_release(tmp_path):
    ages = ["058Y", "011M", "001D", "414", "", "026W", "120"]
    films = [(*film[:4], age, *film[5:]) for film, age in zip(FILMS, ages, strict=True)]
    dataset = _load(write_release(tmp_path, films, name="Data_Entry_2017.csv", last=","))
    expected = [58, 11 / 12, 1 / 365.25, np.nan, np.nan, 26 * 7 / 365.25, 120]
    np.testing.assert_allclose(dataset.table["age"], expected)
    assert "1 of 7 ages are not given" in dataset.info.notes
    assert "1 of 7 ages are over 120 years and count as missing" in dataset.info.notes


def test_an_empty_sex_or_view_is_missing_and_counted(tmp_path):
    films = [(*film[:5], "" if n == 2 else film[5], "" if n < 2 else film[6]) for n, film in enumerate(FILMS)]
    dataset = _load(write_release(tmp_path, films))
    assert dataset.table["sex"].isna().tolist() == [False, False, True, False, False, False, False]
    assert dataset.table["view"].isna().tolist() == [True, True, False, False, False, False, False]
    assert {"1 of 7 films have no sex", "2 of 7 films have no view"} <= set(dataset.info.notes)


def test_age_sex_and_view_beside_the_film(tmp_path):
    ages = ["058Y", "011M", "414", "", "57", "0", "27"]
    films = [(*film[:4], age, *film[5:]) for film, age in zip(FILMS, ages, strict=True)]
    write_release(tmp_path, [(*films[0][:5], "", "PA"), *films[1:]])
    dataset = _load(tmp_path, inputs=["view", "age", "sex"])
    assert dataset.inputs.names == ("view", "age", "sex")
    assert dataset.inputs.categories == {"view": ("PA", "AP"), "sex": ("female", "male")}
    nan = np.nan
    np.testing.assert_array_equal(dataset.table["input.view"], [0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_allclose(dataset.table["input.age"], [58, 11 / 12, nan, nan, 57, 0, 27], rtol=1e-6)  # 414 years are none
    np.testing.assert_array_equal(dataset.table["input.sex"], [nan, 1, 1, 0, 0, 0, 1])
    assert dataset.subgroups == ("sex", "age", "view")
    plain = _load(tmp_path)
    assert plain.inputs is None
    assert list(plain.table) == [column for column in dataset.table if not column.startswith("input.")]


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (["age", "sexx"], ["'sexx'", "did you mean 'sex'"]),
        (["labels"], ["unknown choice of data.inputs 'labels'"]),
        ("age", ["data.inputs=age is one text; give a list, data.inputs=[age]"]),
        ([], ["must name some of age, sex, view"]),
        (["age", "age"], ["data.inputs=[age, age] must name some of age, sex, view, each once"]),
    ],
)
def test_inputs_that_cannot_be_are_one_line(tmp_path, given, parts):
    _fails(write_release(tmp_path), *parts, error=ConfigError, inputs=given)


def test_val_is_carved_by_patient(tmp_path):
    write_release(tmp_path, many_films(40), [film[0] for film in many_films(40)[60:]])
    table = load_dataset("chestxray14", root=tmp_path, missing="ignore", val_fraction=0.2).table
    assert table["split"].value_counts().to_dict() == {"train": 48, "test": 20, "val": 12}
    assert table.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize("layout", ["{name}", "images/{name}", "images_{part}/images/{name}", "images-224/images-224/{name}"])
def test_images_are_found_in_every_layout(tmp_path, layout):
    write_release(tmp_path)
    levels = write_images(tmp_path, NAMES, layout=layout)
    write_images(tmp_path, ["._00000001_000.png", "logo.png"])  # what macOS leaves, and what is no film
    dataset = _load(tmp_path, missing="error")
    paths = [layout.format(name=name, part=f"{n + 1:03d}") for n, name in enumerate(NAMES)]
    assert dataset.table["path"].tolist() == paths
    np.testing.assert_array_equal(dataset.reader.read(paths[4])[0], levels[NAMES[4]])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_films_of_several_channels_are_read_as_gray(tmp_path, mode):
    write_release(tmp_path)
    levels = write_images(tmp_path, NAMES[:2], modes=[mode])
    pixels = _load(tmp_path, missing="skip").reader.read(f"images/{NAMES[1]}")
    assert (pixels.shape, pixels.dtype) == ((1, 16, 16), np.uint8)
    np.testing.assert_array_equal(pixels[0], levels[NAMES[1]])


def test_missing_images(tmp_path):
    write_release(tmp_path)
    write_images(tmp_path, [NAMES[0], NAMES[4], NAMES[6]])
    _fails(tmp_path, "4 image files are not there (00000001_001.png, ", ", ...)", "data.missing=skip", missing="error")
    skipped = _load(tmp_path, missing="skip")
    assert skipped.table["sample_id"].tolist() == [f"chestxray14/{NAMES[n][:-4]}" for n in (0, 4, 6)]
    assert skipped.table.index.tolist() == [0, 1, 2]
    assert any("4 of 7 samples left out" in note for note in skipped.info.notes)
    everything = _load(tmp_path, missing="ignore")
    assert everything.table["path"].tolist()[:2] == [f"images/{NAMES[0]}", NAMES[1]]
    with pytest.raises(ImageError, match=NAMES[1]):
        everything.reader.read(NAMES[1])


def test_a_film_in_two_folders_is_refused(tmp_path):
    write_release(tmp_path)
    write_images(tmp_path, NAMES[:2], layout="images/{name}")
    write_images(tmp_path, NAMES[1:], layout="images-224/{name}")
    _fails(tmp_path, NAMES[1], "images-224/", "images/", "two places", missing="skip")


def test_files_that_are_not_there(tmp_path):
    _fails(tmp_path / "none", f"no folder at {tmp_path / 'none'}", "data.root")
    _fails(tmp_path, str(tmp_path), "Data_Entry_2017_v2020.csv, ", "Data_Entry_2017.csv.gz", "nihcc.app.box.com")
    write_release(tmp_path)
    (tmp_path / "test_list.txt").unlink()
    _fails(tmp_path, "none of test_list.txt, test_list_NIH.txt")
    _fails(tmp_path, str(tmp_path), "none of BBox_List_2017.csv", "nihcc.app.box.com", load=load_boxes)  # needed by none else


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("Finding Labels", "Findings Label", ["no column 'Finding Labels'", "nearest is 'Findings Label'"]),
        ("Patient ID,", "", ["no column 'Patient ID'; the nearest is 'Patient"]),
        ("Patient Gender", "Geschlecht", ["no column 'Patient Gender' or 'Patient Sex'"]),
        ("View Position", "Patient Sex", ["several columns 'Patient Gender' or 'Patient Sex'"]),
        ("|Emphysema", "|Emphysem", ["line 3", "unknown finding 'Emphysem'", "did you mean 'Emphysema'"]),
        ("|Emphysema", "|No Finding", ["line 3", "'Cardiomegaly|No Finding'", "stands alone"]),
        ("No Finding", "", ["line 4", "unknown finding ''"]),
        ("00000002_000.png", "00000001_001.png", [f"{TABLE}: image '00000001_001.png' stands on lines 3 and 4; keep one line"]),
        ("00000002_000.png", "2.png", ["line 4", "'2.png'", "00000001_000.png"]),
        ("No Finding,0,2,", "No Finding,0,7,", ["line 4: 'Image Index' is '00000002_000.png', 'Patient ID' is '7', which"]),
        ("No Finding,0,2,", "No Finding,0,two,", ["line 4: 'Patient ID' is 'two', not a whole number"]),
        ("No Finding,0,2,", "No Finding,first,2,", ["line 4: 'Follow-up #' is 'first', not a whole number"]),
        (",80,", ",80 years,", ["line 4: 'Patient Age' is '80 years', not like 58, 058Y"]),
        ("80,M,", "80,X,", ["line 4: 'Patient Gender' is 'X', not one of F, M, nothing"]),
        (",AP,", ",LL,", ["line 4: 'View Position' is 'LL', not one of PA, AP, nothing (2 such lines)"]),
        ("80,M,AP,2682,2749,0.14300000000000002,0.14300000000000002", "80,M", ["line 4", "cut short", "00000002_000.png"]),
        ("80,M,AP", "80,M,AP,2,2,2", ["line 4", "beyond the 11 columns of the header", "00000002_000.png"]),
        ("80,M,AP", '80,"M,AP', [TABLE, "cannot be read", "line 4 or below is not closed", "download it again"]),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_line(tmp_path, old, new, parts):
    write_release(tmp_path)
    assert old in table_text()
    write_text(tmp_path / TABLE, table_text().replace(old, new))
    _fails(tmp_path, "chestxray14: ", *parts)


def test_a_broken_table_is_named(tmp_path):
    path = write_release(tmp_path, many_films(100), name=f"{TABLE}.gz") / f"{TABLE}.gz"
    for content in (path.read_bytes()[:-100], b"not packed"):
        path.write_bytes(content)
        _fails(tmp_path, path.name, "cannot be read", "download it again")
    for content, reason in ((b"Image Index\n\xff\xfe\n", "cannot be read (line 2 is not UTF-8"), (b"", "is empty")):
        (tmp_path / TABLE).write_bytes(content)
        _fails(tmp_path, f"{TABLE} {reason}", "download it again")


def test_lists_and_table_must_agree(tmp_path):
    write_release(tmp_path)
    lists = {name: (tmp_path / name).read_text() for name in ("test_list.txt", "train_val_list.txt")}
    write_text(tmp_path / "test_list.txt", lists["test_list.txt"] + NAMES[0] + "\n")
    _fails(tmp_path, NAMES[0], "line 1 of train_val_list.txt and line 4 of test_list.txt")
    write_text(tmp_path / "test_list.txt", lists["test_list.txt"] + "\n00000009_000.png\n")
    _fails(tmp_path, "'00000009_000.png' on line 5 of test_list.txt is not in", TABLE)
    write_text(tmp_path / "test_list.txt", lists["test_list.txt"].replace(f"{NAMES[4]}\n", ""))
    _fails(tmp_path, f"{TABLE} line 6", NAMES[4], "neither train_val_list.txt nor test_list.txt")


def test_training_on_a_partial_download(tmp_path):
    films = many_films(30)
    write_release(tmp_path, films, [film[0] for film in films[44:]])
    there = [film[0] for n, film in enumerate(films) if n % 7]  # every seventh film is missing
    write_images(tmp_path, there, layout="images_{part}/images/{name}", modes=["L", "LA", "RGBA"], side=40)
    run = tmp_path / "run"
    options = ["model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]"]
    options += ["data=chestxray14", f"data.root={tmp_path}", "evaluation.replicates=10", f"run={run}"]
    assert main(["train", *options]) == 2  # data.missing=error
    assert main(["train", *options, "data.missing=skip"]) == 0
    kept = pd.read_parquet(run / "predictions.parquet")
    assert set(kept["sample_id"]) <= {f"chestxray14/{name[:-4]}" for name in there}
    assert {"subgroup.sex", "subgroup.age", "subgroup.view"} <= set(kept.columns)
    assert "9 of 60 samples left out" in (run / "metrics.json").read_text()


def test_boxes_join_the_films_by_sample_id(tmp_path):
    write_text(write_release(tmp_path) / "BBox_List_2017.csv", box_text(), bom=True, crlf=True)
    boxes = load_boxes(tmp_path)
    assert list(boxes.columns) == ["sample_id", "label", "x", "y", "width", "height"]
    assert boxes["sample_id"].tolist() == ["chestxray14/00030805_000"] + ["chestxray14/00000003_002"] * 2
    assert boxes["label"].tolist() == ["Nodule", "Infiltration", "Infiltration"]
    first = [225.084745762712, 547.019216763771, 86.7796610169491, 79.1864406779661]
    assert boxes[["x", "y", "width", "height"]].to_numpy().tolist() == [first, [0, 10.5, 1024, 1013.5], [5, 10.5, 20, 30]]
    joined = _load(tmp_path).table.merge(boxes, on="sample_id")
    assert joined["split"].tolist() == ["test"] * 3
    assert [row[f"target.{row['label']}"] for _, row in joined.iterrows()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("00030805_000.png", "00030806_000.png", ["line 2", "'00030806_000.png'", f"not in {TABLE}"]),
        ("Nodule", "Nodul", ["line 2", "unknown finding 'Nodul'", "did you mean 'Nodule'"]),
        ("Nodule", "Hernia", ["line 2", "unknown finding 'Hernia'", "known: Atelectasis"]),  # never boxed
        ("0,10.5,1024", "0.5,10.5,1024", ["line 3", "'Bbox [x' is '0.5', 'y' is '10.5', 'w' is '1024', 'h]' is '1013", "leaves"]),
        ("0,10.5,", "-1,10.5,", ["line 3: 'Bbox [x' is '-1'", "leaves the 1024 x 1024 film"]),
        ("1013.5", "1013.6", ["line 3", "'h]' is '1013.6'", "leaves"]),
        ("1013.5", "0", ["line 3", "empty or leaves"]),
        ("1013.5", "inf", ["line 3: 'h]' is 'inf', not a number"]),
        ("0,10.5,1024,1013.5", "5,10.5,20,30", ["line 4: 'Image Index' is '00000003_002.png'", "as on an earlier line; remove"]),
        ("Bbox [x,y,w,h]", "Bbox [x,y,width,h]", ["BBox_List_2017.csv", "no column 'w'"]),
    ],
)
def test_bad_boxes_are_refused_by_line(tmp_path, old, new, parts):
    assert old in box_text()
    write_text(write_release(tmp_path) / "BBox_List_2017.csv", box_text().replace(old, new))
    _fails(tmp_path, *parts, load=load_boxes)


def test_boxes_are_the_datasets_regions_where_their_file_is_there(tmp_path):
    """A smaller copy of a film has its boxes at the same place."""
    root = write_release(tmp_path)
    assert _load(root).regions is None
    write_text(root / "BBox_List_2017.csv", box_text())
    regions = _load(root).regions
    first, second = regions.of("chestxray14/00000003_002", "Infiltration", (512, 512))
    assert first.sum() == first[5:].sum() == 512 * 507  # y 10.5 to 1024 of 1024
    rows = second.nonzero()[0]
    assert (rows.min(), rows.max()) == (5, 19)
    assert regions.of("chestxray14/00000003_002", "Nodule", (512, 512)) == []
    assert regions.names == ("Nodule", "Infiltration")
