"""A user's own tables and folders: every mapping by hand, every mistake one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.dataset import target_matrix
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset, collate
from medzoo.data.splits.groups import shared_groups

HEADER = "file,patient,diagnosis,grade,mass,nodule,findings,size,sex,age,text,where\n"
ROWS = [
    "a/1.png,007,benign,0,1,0,Mass,2.5,f,30,a small one,train",
    "a/2.png,007,malignant,2,0,,Mass|Nodule,,f,30,,train",
    "a/3.png,008,,1,,,,7,m,61,round,validation",
    "b/4.png,009,benign,,0,1,none,-1,,,x,test",
]


def make(folder: Path, text: str, images: int = 4) -> Path:
    for number in range(1, images + 1):
        path = folder / ("a" if number < 4 else "b") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 10, 3), 40 * number, dtype=np.uint8)).save(path)
    file = folder / "table.csv"
    file.write_bytes(text.encode("utf-8"))
    return file


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return make(tmp_path, HEADER + "\n".join(ROWS) + "\n")


def loaded(file: Path, **options):
    return load_dataset("table", file=file, **{"image": "file", "split": "where", **options})


def test_class_names_groups_subgroups_and_text(table: Path) -> None:
    dataset = loaded(table, target="diagnosis", group="patient", subgroups=["sex", "age"], caption="text", inputs=["size"])
    assert dataset.labels.to_dict() == {"kind": "multiclass", "names": ["benign", "malignant"]}
    rows = dataset.table
    assert rows["target"].tolist()[:2] == [0, 1]
    assert rows["target"].isna().tolist() == [False, False, True, False]
    assert rows["group"].tolist() == ["007", "007", "008", "009"]  # zeros kept
    assert rows["split"].tolist() == ["train", "train", "val", "test"]
    assert rows["sample_id"].tolist() == ["a/1.png", "a/2.png", "a/3.png", "b/4.png"]
    assert rows["sex"].isna().tolist() == [False, False, False, True]
    assert rows["age"].tolist()[:3] == [30, 30, 61]
    assert rows["input.size"].tolist()[0] == 2.5
    assert np.isnan(rows["input.size"].tolist()[1])
    assert rows["caption"].isna().tolist() == [False, True, False, False]
    assert dataset.info.split_unit == "patient"
    assert dataset.reader.read("b/4.png").shape == (3, 12, 10)


def test_grades_columns_of_findings_findings_in_a_cell_and_quantities(table: Path) -> None:
    grades = loaded(table, target="grade", kind="ordinal")
    assert grades.labels.names == ("0", "1", "2")
    np.testing.assert_array_equal(grades.table["target"], [0, 2, 1, np.nan])
    columns = loaded(table, target=["mass", "nodule"])
    np.testing.assert_array_equal(target_matrix(columns.table, columns.labels), [[1, 0], [0, np.nan], [np.nan] * 2, [0, 1]])
    cell = loaded(table, target="findings", separator="|", names=["Mass", "Nodule"], empty_words=["None"])
    np.testing.assert_array_equal(target_matrix(cell.table, cell.labels), [[1, 0], [1, 1], [np.nan] * 2, [np.nan] * 2])
    size = loaded(table, target="size", kind="regression", names=["diameter"], units=["mm"])
    np.testing.assert_array_equal(size.table["target.diameter"], np.float32([2.5, np.nan, 7, -1]))
    assert size.labels.units == ("mm",)
    named = loaded(table, target="grade", kind="ordinal", names=["none", "mild", "severe"])
    np.testing.assert_array_equal(named.table["target"], [0, 2, 1, np.nan])
    concepts = loaded(table, target="diagnosis", concepts=["mass", "nodule"])
    assert concepts.concepts.names == ("mass", "nodule")
    np.testing.assert_array_equal(concepts.table["concept.nodule"], np.float32([0, np.nan, np.nan, 1]))


@pytest.mark.parametrize("change", ["bom", "crlf", "trailing comma", "parquet", "jsonl", "tsv", "blank end"])
def test_every_form_of_the_same_table_is_the_same(change: str, table: Path, tmp_path: Path) -> None:
    plain = loaded(table, target="diagnosis", group="patient", inputs=["size"], concepts=["mass"])
    text, file = table.read_text(), table
    if change == "bom":
        table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    elif change == "crlf":
        table.write_bytes(text.replace("\n", "\r\n").encode())
    elif change == "trailing comma":
        table.write_text("\n".join(f"{line}," for line in text.splitlines()) + "\n")
    elif change == "blank end":
        table.write_text(text + "\n\n")
    elif change == "tsv":
        file = tmp_path / "table.tsv"
        file.write_text(text.replace(",", "\t"))
    else:
        frame = pd.read_csv(table, dtype={"patient": str})
        file = tmp_path / f"table.{change}"
        if change == "parquet":
            frame.to_parquet(file)
        else:
            lines = [{k: (None if pd.isna(v) else v) for k, v in row.items()} for row in frame.to_dict("records")]
            file.write_text("\n".join(json.dumps(line) for line in lines))
    again = loaded(file, target="diagnosis", group="patient", inputs=["size"], concepts=["mass"])
    pd.testing.assert_frame_equal(again.table, plain.table)


@pytest.mark.parametrize(
    ("replace", "by", "options", "message"),
    [
        ("", "", {"target": "diagnoses"}, "no column 'diagnoses'; the nearest is 'diagnosis'"),
        ("", "", {"target": "diagnosis", "image": "files"}, "no column 'files'"),
        ("2,0,,Mass|", "2,maybe,,Mass|", {"target": ["mass", "nodule"]}, "table.csv line 3: 'mass' is 'maybe'"),
        ("7,m,61", "seven,m,61", {"target": "size", "kind": "regression"}, "table.csv line 4: 'size' is 'seven', not a number"),
        ("a/2.png", "a/1.png", {"target": "grade"}, "image 'a/1.png' stands on lines 2 and 3; name a column"),
        ("a/2.png", "../2.png", {"target": "grade"}, "table.csv line 3: 'file' is '../2.png', which leaves"),
        ("a/2.png", "/etc/passwd", {"target": "grade"}, "leaves the dataset's folder"),
        ("a/2.png", "a/9.png", {"target": "grade"}, "1 image files are not there (a/9.png)"),
        ("a/2.png", "", {"target": "grade"}, "line 3: 'file' is empty, so no image is named"),
        ("validation", "later", {"target": "grade"}, "line 4: 'where' is 'later', not train, val or test"),
        ("008", "", {"target": "grade", "group": "patient"}, "line 4: 'patient' is empty"),
        ("malignant", "maligant", {"target": "diagnosis", "names": ["benign", "malignant"]}, "unknown class 'maligant'; did"),
        ("Mass|Nodule", "Mass|Nodul", {"target": "findings", "separator": "|", "names": ["Mass", "Nodule"]}, "unknown finding"),
        ("malignant,2,", "malignant,2,9,9,9,", {"target": "grade"}, "line 3: has cells beyond the 12 columns of the header ("),
        ("", "", {"target": "grade", "group": "patient", "split": None, "kind": "ordnal"}, "did you mean 'ordinal'"),
        ("", "", {"target": "size"}, "say data.kind=regression"),
        ("", "", {"target": "diagnosis", "kind": "ordinal"}, "give their order"),
        ("", "", {"target": "findings", "kind": "multilabel"}, "need data.separator and data.names"),
        ("", "", {"target": "grade", "units": ["mm"]}, "data.units are for kind=regression"),
        ("", "", {"kind": "ordinal"}, "which is not given"),
        ("sex", "group", {"target": "grade", "subgroups": ["group"]}, "a name of medzoo's own columns"),
        ("009", "008", {"target": "grade", "group": "patient"}, "stand in several splits"),
        ("malignant,2", "malignant,0.5", {"target": "grade", "kind": "ordinal"}, "such as 0.5: say data.kind=regression"),
        ("", "", {"target": "grade", "concepts": "mass"}, "data.concepts=mass is one text; give a list, data.concepts=[mass]"),
        ("", "", {"target": "grade", "subgroups": "sex"}, "data.subgroups=sex is one text; give a list, data.subgroups=[sex]"),
        ("size", "w", {"target": "grade", "inputs": "w"}, "data.inputs=w is one text; give a list, data.inputs=[w]"),
        ("", "", {"target": "grade", "names": "abc"}, "data.names=abc is one text; give a list, data.names=[abc]"),
        ("", "", {"target": "size", "kind": "regression", "units": "m"}, "data.units=m is one text; give a list, data.units=[m]"),
        ("", "", {"target": "grade", "empty_words": "NA"}, "data.empty_words=NA is one text; give a list, data.empty_words=[NA]"),
        ("", "", {"target": "grade", "empty_words": -1}, "data.empty_words=-1 is one number; give a list, data.empty_words=[-1]"),
        ("", "", {"target": "grade", "empty_words": {"a": 1}}, "data.empty_words is a mapping; give a list"),
        ("", "", {"target": "grade", "group": ["patient"]}, "data.group=[patient] is a list; give data.group=patient"),
        ("", "", {"target": "grade", "id": ["a", "b"]}, "data.id=[a, b] is a list; give one of them"),
        ("", "", {"target": "grade", "split": True}, "data.split holds true, which is neither text nor a number"),
        ("", "", {"target": "grade", "names": [False, True]}, "data.names holds false, which is neither text nor a number; put"),
        ("", "", {"target": "grade", "subgroups": ["sex", None]}, "data.subgroups holds null"),
        ("", "", {"target": "grade", "window": 400}, "data.window=400 is not [low, high]"),
        ("", "", {"target": "grade", "window": "05"}, "data.window=05 is not [low, high]"),
        ("", "", {"target": "grade", "image": []}, "data.image names no column"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line(replace: str, by: str, options: dict, message: str, tmp_path: Path) -> None:
    text = HEADER + "\n".join(ROWS) + "\n"
    assert replace in text
    file = make(tmp_path, text.replace(replace, by, 1) if replace else text)
    with pytest.raises(MedzooError) as caught:
        loaded(file, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_row_is_named_by_its_line_in_jsonl_and_by_its_number_in_parquet(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.png", "y": n % 2, "text": "one\u2028line"} for n in range(3)]
    rows[2]["y"] = "perhaps"
    file = tmp_path / "t.jsonl"
    file.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    pd.DataFrame(rows).astype({"y": str}).to_parquet(tmp_path / "t.parquet")
    for name, place in (("t.jsonl", "line 5"), ("t.parquet", "row 2")):
        with pytest.raises(MedzooError, match=f"{name} {place}: 'y' is 'perhaps', neither 0, 1 nor empty; name words"):
            load_dataset("table", file=tmp_path / name, target=["y"], missing="ignore")
    file.write_text('{"image": "0.png"}\n\n{"image": ')
    with pytest.raises(MedzooError, match=r"t\.jsonl line 3: is not JSON"):
        load_dataset("table", file=file, missing="ignore")


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("cells", [["0", "1", "-1", "2"], ["0.0", "1.0", "-1.0", "2.0"]])
@pytest.mark.parametrize("word", [-1, -1.0, "-1"])
def test_a_number_may_mean_missing_however_it_is_written(form: str, cells: list[str], word: float | str, tmp_path: Path) -> None:
    file = make(tmp_path, "image,y,c\n")
    frame = pd.DataFrame({"image": ["a/1.png", "a/2.png", "a/3.png", "b/4.png"], "y": cells, "c": ["1", "0", cells[2], ""]})
    if form == "parquet":
        file = tmp_path / "table.parquet"
        number = float if "." in cells[0] else int
        frame.assign(y=frame["y"].map(number), c=pd.to_numeric(frame["c"])).to_parquet(file)
    else:
        frame.to_csv(file, index=False)
    grades = load_dataset("table", file=file, target="y", kind="ordinal", empty_words=[word], concepts=["c"])
    assert grades.labels.names == ("0", "1", "2")
    np.testing.assert_array_equal(grades.table["target"], [0, 1, np.nan, 2])
    np.testing.assert_array_equal(grades.table["concept.c"], [1, 0, np.nan, np.nan])
    sizes = load_dataset("table", file=file, target="y", kind="regression", empty_words=[word])
    np.testing.assert_array_equal(sizes.table["target.y"], [0, 1, np.nan, 2])


def test_numbers_and_texts_for_lists_come_from_the_command_line_and_from_yaml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make(tmp_path, "image,y,split\na/1.png,0,train\na/2.png,1,train\na/3.png,-1,val\nb/4.png,1,val\n")
    data = [f"data.file={file}", "data.target=y", "data.split=split"]
    assert main(["verify", "data=table", *data, "data.empty_words=[-1]"]) == 0
    capsys.readouterr()
    for value, what in (("-1", "number"), ("NA", "text")):
        assert main(["verify", "data=table", *data, f"data.empty_words={value}"]) == 2
        line = capsys.readouterr().err.strip()
        assert f"data.empty_words={value} is one {what}; give a list, data.empty_words=[{value}]" in line
        assert "\n" not in line
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text("defaults: [table, _self_]\nempty_words: [-1]\nnames: [0, 1]\n")
    assert main(["verify", "--config-dir", str(tmp_path / "conf"), "data=mine", *data]) == 0


@pytest.mark.parametrize("kind", ["ordinal", "multiclass"])
@pytest.mark.parametrize("names", [None, [0, 1, 2], ["0", "1", "2"], ["none", "mild", "severe"], ["0.0", "1.0", "2.0"]])
def test_whole_numbers_beside_a_missing_cell_are_classes(kind: str, names: list | None, tmp_path: Path) -> None:
    text = "image,y\na/1.png,0.0\na/2.png,1.0\na/3.png,\nb/4.png,2.0\n"  # as pandas writes 0, 1, missing, 2
    dataset = load_dataset("table", file=make(tmp_path, text), target="y", kind=kind, names=names)
    assert dataset.labels.names == tuple(str(name) for name in names or (0, 1, 2))
    np.testing.assert_array_equal(dataset.table["target"], [0, 1, np.nan, 2])


def test_fractions_are_classes_where_they_are_named(tmp_path: Path) -> None:
    text = "image,y\na/1.png,0.50\na/2.png,1\na/3.png,1.0\nb/4.png,0.5\n"
    dataset = load_dataset("table", file=make(tmp_path, text), target="y", names=[0.5, 1])
    np.testing.assert_array_equal(dataset.table["target"], [0, 1, 1, 0])


def test_missing_files_may_be_left_out_and_are_counted(tmp_path: Path) -> None:
    file = make(tmp_path, HEADER + "\n".join(ROWS) + "\n", images=3)
    dataset = loaded(file, target="grade", missing="skip")
    assert len(dataset) == 3
    assert "1 image files are missing (b/4.png): 1 of 4 samples left out" in dataset.info.notes


def test_several_columns_are_views_of_a_case(tmp_path: Path) -> None:
    text = "case,close,far,label\nx,a/1.png,a/2.png,u\ny,a/3.png,,v\n"
    dataset = load_dataset(
        "table", file=make(tmp_path, text), image=["close", "far"], id="case", target="label", group="case", test_fraction=0.0,
        val_fraction=0.5,
    )  # fmt: skip
    assert dataset.reader.views
    preprocess = Preprocess(size=(6, 6), channels=3, dtype="uint8", mean=(0.5,) * 3, std=(0.5,) * 3)
    samples = {s["sample_id"]: s for split in ("train", "val") for s in SampleDataset(dataset, split, preprocess)}
    assert samples["x"]["view_mask"].tolist() == [True, True]
    assert samples["y"]["view_mask"].tolist() == [True, False]
    assert samples["x"]["image"].shape == (2, 3, 6, 6)
    assert samples["x"]["image"][1].unique().tolist() == [80]
    assert samples["y"]["image"][1].unique().tolist() == [0]
    batch = collate([samples["x"], samples["y"]])
    assert batch["image"].shape == (2, 2, 3, 6, 6)
    assert batch["view_mask"].shape == (2, 2)


def test_volumes_of_nifti_files_in_one_orientation(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    voxels = np.zeros((4, 5, 6), dtype=np.int16)
    voxels[3, 0, 5] = 400  # x=3 (left-most of RAS: right), y=0 back..., z=5 top
    voxels[0, 0, 0] = -1000
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    flipped = nibabel.Nifti1Image(voxels[::-1], np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    nibabel.save(flipped, tmp_path / "b.nii")
    (tmp_path / "t.csv").write_text("image,y,split\na.nii.gz,0,train\nb.nii,1,val\n")
    options = {"file": tmp_path / "t.csv", "target": "y", "channels": 1, "split": "split"}
    dataset = load_dataset("table", window=[-1000, 400], **options)
    read = [dataset.reader.read(path) for path in ("a.nii.gz", "b.nii")]
    np.testing.assert_array_equal(read[0], read[1])  # the same patient, stored the other way round
    assert read[0].shape == (1, 6, 5, 4)
    assert read[0][0, 5, 4, 0] == 255  # top slice, back row, the patient's right on the left
    assert read[0].min() == 0
    with pytest.raises(MedzooError, match=r"data\.window"):
        load_dataset("table", **options).reader.read("a.nii.gz")
    (tmp_path / "b.nii").write_bytes(b"")
    with pytest.raises(MedzooError, match=r"b\.nii"):
        dataset.reader.read("b.nii")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for number in range(24):
        name = "sick" if number % 3 == 0 else "well"
        path = tmp_path / "data" / name / f"{number // 2:03d}_{number % 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 120, (16, 16, 3), dtype=np.uint8) + (100 if name == "sick" else 0)).save(path)
    return tmp_path / "data"


def test_class_folders_with_patients_in_their_names(folders: Path) -> None:
    dataset = load_dataset("folder", root=folders, group_pattern=r"^(\d+)_", test_fraction=0.3)
    assert dataset.labels.names == ("sick", "well")
    assert not shared_groups(dataset.table)
    row = dataset.table.set_index("sample_id").loc["sick/000_0.png"]
    assert (row["target"], row["group"]) == (0, "000")
    assert set(dataset.table["split"]) == {"train", "val", "test"}
    turned = load_dataset("folder", root=folders, names=["well", "sick"], ordinal=True)
    assert turned.labels.kind == "ordinal"
    assert turned.table.set_index("sample_id").loc["sick/000_0.png", "target"] == 1


def test_folders_of_splits(folders: Path, tmp_path: Path) -> None:
    for split in ("train", "Validation", "test"):
        for path in folders.glob("*/*.png"):
            copy = tmp_path / "split" / split / path.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    dataset = load_dataset("folder", root=tmp_path / "split")
    assert dataset.table["split"].value_counts().to_dict() == {"train": 24, "val": 24, "test": 24}
    assert dataset.labels.names == ("sick", "well")
    with pytest.raises(MedzooError, match="stand in several splits"):
        load_dataset("folder", root=tmp_path / "split", group_pattern=r"^(\d+)_")


@pytest.mark.parametrize("stray", [None, "image.heic"])
@pytest.mark.parametrize("splits", [False, True])
def test_a_class_folder_without_images_is_refused(stray: str | None, splits: bool, folders: Path, tmp_path: Path) -> None:
    root = folders
    if splits:
        root = tmp_path / "split"
        (root / "test" / "sick").mkdir(parents=True)  # a class that one split lacks
        (root / "train").symlink_to(folders, target_is_directory=True)
    (root / ".cache").mkdir()
    assert load_dataset("folder", root=root).labels.names == ("sick", "well")
    rare = (root / "test" if splits else root) / "rare"
    rare.mkdir()
    if stray is not None:
        (rare / stray).write_bytes(b"")
    with pytest.raises(MedzooError) as caught:
        load_dataset("folder", root=root)
    assert str(caught.value).startswith(f"{rare} holds no image (known: PNG")
    assert "data.names=[...]" in str(caught.value)
    assert "\n" not in str(caught.value)
    named = load_dataset("folder", root=root, names=["sick", "well", "rare"])
    assert named.labels.width == 3
    assert "no image of rare" in named.info.notes
    assert load_dataset("folder", root=root, names=["sick", "well"]).labels.width == 2


def test_class_folders_named_by_numbers(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / name / "a.png")
    dataset = load_dataset("folder", root=tmp_path, names=[1, 0])
    assert dataset.labels.names == ("1", "0")
    assert dataset.table.set_index("sample_id").loc["1/a.png", "target"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "sick"}, "data.names=sick is one text; give a list, data.names=[sick]"),
        ({"names": ["sick", "wel"]}, "class folder 'well'; did you mean 'wel'"),
        ({"group_pattern": r"^\d+"}, "no group in parentheses"),
        ({"group_pattern": "("}, "not a regular expression"),
        ({"group_pattern": "^(x)"}, "finds no patient"),
        ({"channels": 0}, "no number of channels"),
    ],
)
def test_mistakes_in_folders_are_one_line(options: dict, message: str, folders: Path) -> None:
    with pytest.raises(MedzooError) as caught:
        load_dataset("folder", root=folders, **options)
    assert message in str(caught.value)
    (folders.parent / "empty").mkdir()
    with pytest.raises(MedzooError, match="no image below"):
        load_dataset("folder", root=folders.parent / "empty")


def test_a_folder_and_a_table_of_views_train_and_export_by_the_command_line(folders: Path, tmp_path: Path) -> None:
    common = [
        "model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]",
        "trainer.batch_size=4", "evaluation.replicates=10",
    ]  # fmt: skip
    run = tmp_path / "run"
    assert main(["train", "data=folder", f"data.root={folders}", r"data.group_pattern='^(\d+)_'", *common, f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=4"]) == 0
    names = sorted(p.relative_to(folders).as_posix() for p in folders.glob("*/*_0.png"))
    lines = [
        f"{n},{n.replace('_0', '_1') if (folders / n.replace('_0', '_1')).is_file() else ''},{n.split('/')[0]}" for n in names
    ]
    (folders / "cases.csv").write_text("one,two,label\n" + "\n".join(lines) + "\n")
    cases = [
        "data=table",
        f"data.file={folders / 'cases.csv'}",
        "data.image=[one,two]",
        "data.target=label",
        "data.test_fraction=0.3",
    ]
    assert main(["train", *cases, *common, f"run={tmp_path / 'cases'}"]) == 0
    assert main(["export", f"run={tmp_path / 'cases'}", "images=4"]) == 0


def test_the_window_of_training_is_that_of_deployment(tmp_path: Path) -> None:
    """16-bit films whose classes differ in a narrow band: read over 0..65535 they would all be black."""
    from medzoo.api import load
    from medzoo.export.runtime.model import OnnxModel

    lines = ["image,label,split"]
    for number in range(24):
        level = 300 if number % 2 else 3000
        pixels = np.random.default_rng(number).integers(level - 200, level + 200, (20, 20)).astype(np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},{'train' if number < 16 else 'val'}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    data = ["data=table", f"data.file={tmp_path / 't.csv'}", "data.target=label", "data.split=split", "data.channels=1"]
    data += ["data.window=[0,4095]", "data.deep=true"]
    options = ["model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=2", "trainer.trackers=[]"]
    run = tmp_path / "run"
    assert main(["train", *data, *options, "evaluation.splits=[val]", "evaluation.replicates=5", f"run={run}"]) == 0
    assert main(["export", f"run={run}", "images=8"]) == 0
    dataset = load_dataset(
        "table", file=tmp_path / "t.csv", target="label", split="split", channels=1, window=[0, 4095], deep=True
    )
    arrays = [np.moveaxis(dataset.reader.read(f"{n}.png"), 0, -1) for n in range(4)]
    assert arrays[0].max() > 0.6
    files = [tmp_path / f"{n}.png" for n in range(4)]
    for model in (OnnxModel(run / "model.onnx"), load(run)):
        np.testing.assert_allclose(model.predict(files)["logits"], model.predict(arrays)["logits"], atol=1e-5)


def test_an_empty_test_split_is_said_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "image,y,split\na/1.png,u,train\na/2.png,v,train\na/3.png,u,val\nb/4.png,v,val\n"
    data = ["data=table", f"data.file={make(tmp_path, text)}", "data.target=y", "data.split=split"]
    assert main(["train", *data, "model.backbone=test_resnet", f"run={tmp_path / 'run'}"]) == 2
    assert "the test split is empty; leave it out of evaluation.splits" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
