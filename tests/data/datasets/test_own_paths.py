"""Cases 25 and 26, and their kind: paths as others write them, images in several rows, groups by a pattern."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.errors import MedzooError
from medzoo.data.registry import load_dataset
from tests.data.datasets.own_tables import frame, load_table, splits_of, write_images

NAMES = list(frame()["image"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "set", NAMES)
    return tmp_path / "set"


@pytest.mark.parametrize(
    "before",
    ["ROOT/", "/", "./", "../set/", "x/../", "file://ROOT/", "file:ROOT/", "C:\\data\\set\\", "D:/set/", ".\\", "/home/anna/set/",
     "\\\\server\\share\\", "LINK/", "//ROOT/"],
)  # fmt: skip
@pytest.mark.parametrize("missing", ["error", "skip", "ignore"])
def test_paths_of_files_that_are_there(before: str, missing: str, folder: Path) -> None:
    """Case 26 first."""
    (folder.parent / "link").symlink_to(folder)
    before = before.replace("ROOT", str(folder)).replace("LINK", str(folder.parent / "link"))
    frame(image=[before + name for name in NAMES]).to_csv(folder / "t.csv", index=False)
    dataset = load_table(folder / "t.csv", missing=missing)
    assert dataset.table["sample_id"].tolist() == dataset.table["path"].tolist() == NAMES
    foreign = any("image paths are absolute: read below the dataset's folder" in note for note in dataset.info.notes)
    assert foreign == (before[0] in "/CD\\" and str(folder.parent) not in before)
    assert not any(str(folder.parent) in note or "anna" in note for note in dataset.info.notes)


def test_a_blank_in_a_file_address_and_a_path_relative_to_the_table(folder: Path) -> None:
    write_images(folder, [f"a b/{name}" for name in NAMES])
    frame(image=[f"file://{folder}/a%20b/{name}" for name in NAMES]).to_csv(folder / "t.csv", index=False)
    assert load_table(folder / "t.csv").table["path"].iloc[0] == "a b/i00.png"
    (folder / "lists").mkdir()
    frame(image=[f"../a b/{name}" for name in NAMES]).to_csv(folder / "lists" / "t.csv", index=False)
    assert load_table(folder / "lists" / "t.csv", root=folder).table["path"].iloc[0] == "a b/i00.png"


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("../", "which leaves the dataset's folder .*set data.root"), ("/etc/", "which leaves the dataset's folder"),
        ("../../set/", "which leaves"), ("https://host/", "which is an address .*download the images first"),
        ("s3://bucket/", "which is an address"),
    ],
)  # fmt: skip
def test_paths_of_files_that_are_elsewhere(before: str, message: str, folder: Path) -> None:
    frame(image=[before + name.replace("i", "j") for name in NAMES]).to_csv(folder / "t.csv", index=False)
    with pytest.raises(MedzooError, match=rf"t\.csv line 2: 'image' is .*{message}"):
        load_table(folder / "t.csv")


@pytest.mark.parametrize(
    ("written", "template", "there"),
    [
        ("i{:02}", "{{}}.png", "i{:02}.png"), ("i{:02}.png", "scans/{{}}", "scans/i{:02}.png"),
        ("{:02}", "scans/{{}}_l.png", "scans/{:02}_l.png"), ("x/i{:02}.png", "y/{{}}", "y/x/i{:02}.png"),
    ],
)  # fmt: skip
def test_a_template_is_offered_and_finds_the_files(written: str, template: str, there: str, tmp_path: Path) -> None:
    write_images(tmp_path, [there.format(n) for n in range(12)])
    frame(image=[written.format(n) for n in range(12)]).to_csv(tmp_path / "t.csv", index=False)
    template = template.format()
    for missing in ("error", "skip"):
        with pytest.raises(MedzooError, match="12 image files are not there") as caught:
            load_table(tmp_path / "t.csv", missing=missing)
        assert f"data.path='{template}'\" finds 12 of them" in str(caught.value)
    dataset = load_table(tmp_path / "t.csv", path=template)
    assert dataset.table["path"].tolist() == [there.format(n) for n in range(12)]


@pytest.mark.parametrize(
    ("given", "there", "right"),
    [
        ("{}.jpg", "Training_Input/i{:02}.jpg", "Training_Input/{}.jpg"),
        ("images/{}.jpg", "scans/i{:02}.png", "scans/{}.png"),
        ("{patient}/{}.jpg", "set {{1}}/q{1}/i{0:02}.png", "set {{1}}/{patient}/{}.png"),
    ],
)
def test_the_template_that_is_offered_keeps_what_the_current_one_says(given: str, there: str, right: str, tmp_path: Path) -> None:
    files = [there.format(n, n // 2) for n in range(12)]
    write_images(tmp_path, files)
    rows = frame(image=[f"i{n:02}" for n in range(12)], patient=[f"q{n // 2}" for n in range(12)])
    rows.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(MedzooError) as caught:
        load_table(tmp_path / "t.csv", path=given)
    assert f"data.path='{right}'\" finds 12 of them" in str(caught.value)
    assert load_table(tmp_path / "t.csv", path=right).table["path"].tolist() == files


@pytest.mark.parametrize("root", ["set/train", "elsewhere"])
def test_folders_that_paths_have_above_the_root(root: str, tmp_path: Path) -> None:
    names = [f"p{n // 2}/{n % 2}/view1.png" for n in range(12)]
    write_images(tmp_path / root, names)
    frame(image=[f"set/train/{name}" for name in names]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(MedzooError) as caught:
        load_table(tmp_path / "t.csv", root=tmp_path / root)
    said = str(caught.value)
    if root == "elsewhere":
        assert f"12 of them are there without set/train/ before them: move them into {tmp_path}/elsewhere/set/train" in said
        (tmp_path / root).rename(tmp_path / "old")
        (tmp_path / root / "set").mkdir(parents=True)
        (tmp_path / "old").rename(tmp_path / root / "set" / "train")
    else:
        assert f"data.root={tmp_path} finds 12 of them" in said
    assert len(load_table(tmp_path / "t.csv", root=tmp_path / root if root == "elsewhere" else tmp_path)) == 12


def test_nothing_is_offered_that_does_not_find_the_files(tmp_path: Path) -> None:
    write_images(tmp_path, ["q/p0/0.png", "q/p0/1.png"])
    frame(image=[f"p{n // 2}/{n % 2}.png" for n in range(12)]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(MedzooError, match="image files are not there") as caught:
        load_table(tmp_path / "t.csv")
    assert "finds" not in str(caught.value)


def test_a_template_takes_other_columns_and_numbers(tmp_path: Path) -> None:
    write_images(tmp_path, [f"P{n // 2}/{n:03}.png" for n in range(12)])
    frame(image=[float(n) for n in range(12)]).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_table(tmp_path / "t.csv", path="{patient}/{:0>3}.png")
    assert dataset.table["path"].iloc[11] == "P5/011.png"
    for wrong in ("x.png", "{", "{0}.png", "{:d}.png"):
        with pytest.raises(MedzooError, match=r"^data\.path=.* is no template such as images/\{\}\.jpg"):
            load_table(tmp_path / "t.csv", path=wrong)


def test_another_case_is_named(folder: Path) -> None:
    frame(image=[name.upper() for name in NAMES]).to_csv(folder / "t.csv", index=False)
    with pytest.raises(MedzooError, match=r"'i00\.png' is there: upper and lower case count"):
        load_table(folder / "t.csv")


def annotated(rows: int = 36, labels: int = 2) -> dict[str, list[str]]:
    return {
        "row": [f"r{n}" for n in range(rows)], "image": [NAMES[n // 3] for n in range(rows)],
        "label": [("benign", "malignant")[n // 3 % 2 if labels == 1 else n % 2] for n in range(rows)],
    }  # fmt: skip


def test_rows_of_one_image_are_one_group(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Case 25: three annotators an image."""
    frame(36, **annotated(labels=1)).to_csv(folder / "t.csv", index=False)
    dataset = load_table(folder / "t.csv", group=None, id="row")
    assert dataset.table["group"].nunique() == 12
    assert set(splits_of(dataset, "path").values()) == {1}
    data = ["data=table", f"data.file={folder / 't.csv'}", "data.target=label", "data.id=row"]
    own = ["model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]"]
    assert main(["train", *data, *own, "evaluate=false", f"run={folder / 'run'}"]) == 0
    assert "note: 12 images stand in several rows (36 in all): the rows of one are one group" in capsys.readouterr().out


def test_annotators_who_differ_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(36, **annotated()).to_csv(folder / "t.csv", index=False)
    assert main(["verify", "data=table", f"data.file={folder / 't.csv'}", "data.target=label", "data.id=row"]) == 0
    assert "look at the labels: 12 of 12 images that stand in several samples have contradictory" in capsys.readouterr().out


def test_views_and_patients_that_share_an_image_are_one_group(folder: Path) -> None:
    """Pairs of images in a chain, and one image of two patients."""
    table = frame(image=NAMES, other=[*NAMES[1:6], "", *NAMES[7:], ""], case=[f"c{n}" for n in range(12)])
    table.to_csv(folder / "t.csv", index=False)
    chain = load_table(folder / "t.csv", image=["image", "other"], id="case", group=None, test_fraction=0, val_fraction=0.5)
    assert chain.table["group"].nunique() == 2
    twice = frame(image=[NAMES[0], *NAMES[:-1]], case=[f"c{n}" for n in range(12)], patient=[f"P{n}" for n in range(12)])
    twice.to_csv(folder / "t.csv", index=False)
    joined = load_table(folder / "t.csv", id="case")
    assert joined.table["group"].iloc[:2].tolist() == ["P0", "P0"]
    assert any("1 rows joined another group" in note for note in joined.info.notes)
    twice.assign(split=["train", "test"] * 6).to_csv(folder / "t.csv", index=False)
    with pytest.raises(MedzooError, match=r"stand in several splits .*split them anew with data\.split=null, or allow"):
        load_table(folder / "t.csv", id="case", split="split")


def test_a_pattern_finds_the_patient(folder: Path) -> None:
    images = [f"{'ab'[n % 2]}/P{n // 4:02}/x{n}_{n // 6}.png" for n in range(12)]
    write_images(folder, images)
    frame(image=images, patient=[f"S{n // 3}/visit {n}" for n in range(12)]).to_csv(folder / "t.csv", index=False)
    assert load_table(folder / "t.csv", group_pattern="^(S.)/").table["group"].nunique() == 4
    names = load_table(folder / "t.csv", group=None, group_pattern=r"_(\d)\.")
    assert (names.table["group"].nunique(), names.info.split_unit) == (2, "patient")
    folders = load_table(folder / "t.csv", group=None, group_pattern="/(P..)/")
    assert folders.table["group"].nunique() == 3
    for pattern, message in (
        ("(", "is not a regular"),
        ("x", "no group in parentheses"),
        ("^(q)", "finds no patient in"),
    ):
        with pytest.raises(MedzooError, match=message):
            load_table(folder / "t.csv", group_pattern=pattern)


def test_training_finds_a_wrong_column_and_a_missing_file_before_torch(folder: Path) -> None:
    import subprocess
    import sys

    frame(image=["gone.png", *NAMES[1:]]).to_csv(folder / "t.csv", index=False)
    # The arguments, then whether torch was imported.
    code = "import sys; from medzoo.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    words = [sys.executable, "-c", code, "train", "data=table", f"data.file={folder / 't.csv'}", "model=cnn"]
    for more, message in (("data.target=lable", "no column 'lable'; the nearest is 'label'"), ("data.target=label", "gone.png")):
        done = subprocess.run([*words, more], capture_output=True, text=True, env=os.environ, check=True)
        assert done.stdout.split() == ["2", "False"]
        assert message in done.stderr


def test_two_tables_of_one_folder_and_of_one_name_are_told_apart_by_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that starts from another: labels.csv of another folder is no earlier table, and says whose names it shares."""
    other = folder.parent / "other"
    write_images(other, [*NAMES, "more.png"])
    own = ["model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]", "evaluate=false", "data=table"]
    own += ["data.target=label", "data.group=patient"]
    for place, count in ((folder, 12), (other, 10)):
        frame(count).to_csv(place / "labels.csv", index=False)
    first = [*own, f"data.file={folder / 'labels.csv'}", "model.backbone=test_resnet", f"run={folder / 'run'}"]
    assert main(["train", *first]) == 0
    start = [f"model.backbone={folder / 'run'}", "data.split_seed=2", f"run={other / 'run'}"]
    assert main(["train", *own, f"data.file={other / 'labels.csv'}", *start]) == 0
    out = capsys.readouterr().out
    assert "patient groups of the val split (such as 'P" in out
    assert "bear names that the network has learnt from in other data: are they the same?" in out
    given = load_dataset("table", file=other / "labels.csv", target="label", group="patient")
    assert given.info.populations != load_table(folder / "labels.csv").info.populations


def test_a_run_of_an_earlier_medzoo_keeps_its_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its configuration knows none of the new options: its data are read and split by rule 1, and are its own."""
    import yaml

    frame(40, image=[NAMES[n % 12] for n in range(40)], row=[f"r{n}.0" for n in range(40)]).to_csv(folder / "t.csv", index=False)
    own = ["data=table", f"data.file={folder / 't.csv'}", "data.target=label", "data.group=patient", "data.id=row"]
    own += ["model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]"]
    own += ["evaluation.replicates=5", "data.split_rule=1", "data.allow_shared_groups=true"]
    assert main(["train", *own, "evaluate=false", f"run={folder / 'run'}"]) == 0
    config = folder / "run" / "config.yaml"
    options = yaml.safe_load(config.read_text())
    for name in ("split_rule", "sheet", "encoding", "decimal", "path", "values", "group_pattern"):
        del options["data"][name]
    config.write_text(yaml.safe_dump(options))
    assert main(["evaluate", f"run={folder / 'run'}", "evaluation.splits=[test]", "evaluation.replicates=5"]) == 0
    assert main(["evaluate", f"run={folder / 'run'}", "+data.split_rule=2", "evaluation.splits=[test]"]) == 2
    assert "data.split_rule=2: " in capsys.readouterr().err


def test_a_file_that_is_here_elsewhere_is_not_read_from_the_folder(tmp_path: Path) -> None:
    """Two folders hold files of the same names; the table names those of the other one."""
    for folder, level in (("a", 10), ("b", 200)):
        (tmp_path / folder).mkdir()
        for number in range(6):
            Image.fromarray(np.full((8, 8), level + number, np.uint8)).save(tmp_path / folder / f"{number}.png")
    rows = [f"{tmp_path}/b/{number}.png,{'xy'[number % 2]}" for number in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    with pytest.raises(MedzooError, match="leaves the dataset's folder"):
        load_dataset("table", file=tmp_path / "t.csv", root=tmp_path / "a", target="label")


def test_two_files_of_theirs_are_never_one_of_these(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    rows = [f"/elsewhere/{side}/{number}.png,{side}" for number in range(3) for side in ("left", "right")]
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    with pytest.raises(MedzooError, match="leaves the dataset's folder"):
        load_dataset("table", file=tmp_path / "t.csv", target="label")


@pytest.mark.parametrize("word", ["unknown", "nan"])
def test_a_pattern_that_finds_nobody_is_refused(word: str, tmp_path: Path) -> None:
    for place, name in enumerate((f"{word}_1", f"{word}_2", "P1_3", "P2_4")):
        Image.fromarray(np.full((8, 8), place, np.uint8)).save(tmp_path / f"{name}.png")
    rows = [f"{path.name},{'xy'[place % 2]}" for place, path in enumerate(sorted(tmp_path.glob("*.png")))]
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    with pytest.raises(MedzooError, match=f"finds '{word}' in 2 names, which is no patient"):
        load_dataset("table", file=tmp_path / "t.csv", target="label", group_pattern="^([^_]+)_")
