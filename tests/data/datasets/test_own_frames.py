"""Files of several frames in a user's own folder or table: members or volumes, named, grouped, prepared and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.dataset import Dataset, data_card
from medzoo.data.errors import ConfigError, DatasetError, ImageError, UnknownNameError
from medzoo.data.images.decode import decode_frames, decode_image
from medzoo.data.images.frames import Frame
from medzoo.data.registry import load_dataset
from medzoo.data.samples.packed.images import open_packed, write_packed
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.splits.learnt_from import record, refuse_learnt_from
from tests.data.images.makers import animation, encoded

FILES = 24


def picture(file: int, page: int) -> Image.Image:
    """A picture that no other file or page has."""
    return Image.fromarray(np.random.default_rng([file, page]).integers(0, 256, (12, 14), dtype=np.uint8))


def pages_of(file: int) -> int:
    """1 of every third file, else 2 to 4."""
    return 1 if file % 3 == 0 else 2 + file % 3


def write(root: Path, files: int = FILES) -> None:
    """`a/00.png` of one picture, `b/01.tif` of several pages, ...; and a table of them, two files a patient."""
    lines = ["image,patient,y,split"]
    for file in range(files):
        name = f"{'ab'[file % 2]}/{file:02d}.{'png' if pages_of(file) == 1 else 'tif'}"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        made = [picture(file, page) for page in range(pages_of(file))]
        (root / name).write_bytes(encoded(made[0]) if len(made) == 1 else animation(made, "TIFF"))
        lines.append(f"{name},p{file // 2},{'ab'[file % 2]},{'test' if file % 4 > 1 else 'train'}")
    (root / "t.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    write(folder)
    return folder


def own(root: Path, name: str, **options: Any) -> Dataset:
    place = {"root": root} if name == "folder" else {"file": root / "t.csv", "target": "y"}
    return load_dataset(name, **{**place, "frames": "members", **options})


def expected() -> list[str]:
    names = []
    for file in sorted(range(FILES), key=lambda file: (file % 2, file)):
        name = f"{'ab'[file % 2]}/{file:02d}."
        names += [f"{name}tif[{page}]" for page in range(pages_of(file))] if pages_of(file) > 1 else [f"{name}png"]
    return names


@pytest.mark.parametrize("name", ["folder", "table"])
def test_every_frame_is_a_sample_with_its_files_label_and_pixels(root: Path, name: str) -> None:
    dataset = own(root, name)
    assert sorted(dataset.table["sample_id"]) == sorted(expected())
    assert len(dataset) == sum(map(pages_of, range(FILES)))
    for path, number, target in dataset.table[["path", "frame", "target"]].itertuples(index=False):
        file = int(path[2:4])
        assert target == file % 2
        np.testing.assert_array_equal(dataset.reader.read(path, number)[0], np.asarray(picture(file, number)))
    assert any("16 files hold several frames: each is a sample" in note for note in dataset.info.notes)
    assert dataset.info.split_unit == "file"
    assert data_card(dataset)["frames"] == "members"
    assert "frames" not in data_card(load_dataset("phantom", patients=8, size=16))


@pytest.mark.parametrize("name", ["folder", "table"])
@pytest.mark.parametrize("seed", range(4))
def test_frames_of_one_file_never_stand_on_two_sides(root: Path, name: str, seed: int) -> None:
    kinds: list[dict[str, Any]] = [{}, {"val_fraction": 0.3}, {"folds": 3, "fold": seed % 3}, {"fraction": 0.5}, {"shots": 2}]
    for options in kinds:
        table = own(root, name, seed=seed, split_seed=seed, draw_seed=seed, test_fraction=0.4, **options).table
        assert table["split"].nunique() > 1
        assert (table.groupby("path")["split"].nunique() == 1).all()
        assert (table.groupby("path")["group"].nunique() == 1).all()
        assert table["group"].nunique() == table["path"].nunique()


def test_a_column_or_pattern_of_groups_goes_for_all_frames_of_a_file(root: Path) -> None:
    grouped = own(root, "table", group="patient")
    assert (grouped.table["group"] == "p" + (grouped.table["path"].str[2:4].astype(int) // 2).astype(str)).all()
    assert grouped.info.split_unit == "patient"
    by_name = own(root, "folder", group_pattern=r"^(\d)")
    assert set(by_name.table["group"]) == {"0", "1", "2"}
    assert by_name.info.split_unit == "patient"


def test_the_split_of_a_column_or_of_folders_goes_for_all_frames(root: Path, tmp_path: Path) -> None:
    table = own(root, "table", split="split", val_fraction=0.2).table
    assert ((table["split"] == "test") == (table["path"].str[2:4].astype(int) % 4 > 1)).all()
    for split in ("train", "val", "test"):
        write(tmp_path / split, 4)
        (tmp_path / split / "t.csv").unlink()
    table = own(tmp_path, "folder").table
    assert (table["split"] == table["path"].str.split("/").str[0]).all()


@pytest.mark.parametrize("earlier", ["members", "volume"])
def test_a_model_is_not_tested_on_another_frame_of_a_file_it_learnt_from(root: Path, earlier: str) -> None:
    before = own(root, "table", seed=1, frames=earlier)
    now = own(root, "folder", seed=5)
    shared = set(now.rows("test")["path"]) & set(before.rows("train")["path"])
    assert shared
    with pytest.raises(DatasetError, match=f"learnt from {len(shared)} file groups of the test split"):
        refuse_learnt_from(now, record(before), ["test"])


def test_a_row_may_be_one_frame(root: Path) -> None:
    rows = [(path, page) for path, page in (("b/01.tif", 2), ("b/01.tif", 0), ("a/02.tif", 1), ("a/00.png", 0), ("b/05.tif", 3))]
    (root / "one.csv").write_text("image,page,y\n" + "".join(f"{p},{n},{p[0]}\n" for p, n in rows))
    dataset = load_dataset("table", file=root / "one.csv", target="y", frame_number="page", test_fraction=0.5)
    assert list(dataset.table["sample_id"]) == [f"{path}[{page}]" for path, page in rows]
    for path, number in dataset.table[["path", "frame"]].itertuples(index=False):
        np.testing.assert_array_equal(dataset.reader.read(path, number)[0], np.asarray(picture(int(path[2:4]), number)))
    assert dataset.table.groupby("path")["group"].nunique().max() == 1
    assert dataset.reader.frames == "members"


def test_frames_bear_the_name_of_their_row_and_rows_of_one_file_are_one_group(root: Path) -> None:
    rows = ["one,b/01.tif,p1,a", "two,b/01.tif,p2,b", "three,a/00.png,p3,a", "four,a/02.tif,p4,b"]
    (root / "ids.csv").write_text("name,image,patient,y\n" + "\n".join(rows) + "\n")
    options = {"file": root / "ids.csv", "target": "y", "id": "name", "frames": "members", "test_fraction": 0.4}
    table = load_dataset("table", **options, group="patient").table
    names = [f"{name}[{n}]" for name, count in (("one", 3), ("two", 3)) for n in range(count)]
    assert list(table["sample_id"]) == [*names, "three", *(f"four[{n}]" for n in range(4))]
    assert list(table["target"]) == [0] * 3 + [1] * 3 + [0] + [1] * 4
    for grouped in (table, load_dataset("table", **options).table):
        assert (grouped.groupby("path")["group"].nunique() == 1).all()
        assert grouped["group"].nunique() == 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("b/01.tif,x", r"line 2: 'page' is 'x', not a number"),
        ("b/01.tif,0\nb/01.tif,-1", r"line 3: 'page' is '-1', no frame's number; frames count from 0"),
        ("b/01.tif,0.5", "no frame's number"),
        ("b/01.tif,", "every row needs the number of its frame"),
        ("b/01.tif,1\nb/01.tif,1.0", r"frame 'b/01\.tif\[1\]' stands on lines 2 and 3"),
    ],
)
def test_a_frames_number_that_is_none_is_refused_by_its_line(root: Path, rows: str, said: str) -> None:
    (root / "bad.csv").write_text(f"image,page\n{rows}\n")
    with pytest.raises(DatasetError, match=said):
        load_dataset("table", file=root / "bad.csv", frame_number="page")


def test_rows_of_one_file_in_two_splits_are_refused(root: Path) -> None:
    (root / "two.csv").write_text("image,page,split\nb/01.tif,0,train\nb/01.tif,1,test\na/02.tif,0,train\na/04.tif,0,val\n")
    with pytest.raises(DatasetError, match=r"1 file groups stand in several splits \(such as 'b/01\.tif\[0\]'"):
        load_dataset("table", file=root / "two.csv", frame_number="page", split="split")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"frames": "member"}, UnknownNameError, "choice of data.frames 'member'"),
        ({"split_rule": 1}, ConfigError, r"data\.frames needs data\.split_rule=2"),
        ({"frames": None, "frame_number": "y", "split_rule": 1}, ConfigError, r"data\.frame_number needs data\.split_rule=2"),
        ({"frame_number": "y"}, ConfigError, r"data\.frame_number=y says which frame a row is: leave data\.frames=members out"),
        ({"image": ["image", "patient"]}, ConfigError, "views of one case are files of one frame"),
        ({"frames": None, "frame_number": "none"}, DatasetError, "no column 'none'"),
        ({"subgroups": ["frame"]}, DatasetError, "frame"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    root: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        own(root, "table", **options)


def test_without_the_option_a_file_of_several_is_one_line_that_names_it(root: Path) -> None:
    for name in ("folder", "table"):
        dataset = own(root, name, frames=None)
        assert len(dataset) == FILES
        assert dataset.info.split_unit == "image"
        with pytest.raises(ImageError, match=r"b/01\.tif: holds 3 pages; data\.frames=members makes each an image"):
            dataset.reader.read("b/01.tif")


def test_files_that_are_not_there_or_damaged_keep_their_row(root: Path, tmp_path: Path) -> None:
    write(tmp_path, 8)
    (tmp_path / "b/01.tif").unlink()
    (tmp_path / "a/02.tif").write_bytes(b"II*\0")
    with pytest.raises(DatasetError, match=r"1 image files are not there \(b/01\.tif\)"):
        own(tmp_path, "table")
    kept = own(tmp_path, "table", missing="skip")
    assert "b/01.tif" not in set(kept.table["path"])
    assert list(kept.table["frame"][kept.table["path"] == "a/02.tif"]) == [0]
    with pytest.raises(ImageError, match=r"02\.tif: a damaged TIFF"):
        kept.reader.read("a/02.tif", 0)
    with pytest.raises(
        DatasetError, match=r"b/01\.tif is not there \(1 such files\), and data\.frames=members counts its frames"
    ):
        own(tmp_path, "table", missing="ignore")


def test_prepared_frames_are_those_of_the_files(root: Path, tmp_path: Path) -> None:
    wanted = Preprocess(size=(8, 8), channels=3)
    dataset = own(root, "table")
    write_packed(dataset, wanted, tmp_path / "packed")
    packed = own(root, "table", packed=str(tmp_path / "packed"))
    assert packed.reader.frames == "members"
    for split in ("train", "val", "test"):
        theirs, ours = (SampleDataset(one, split, wanted) for one in (dataset, packed))
        assert list(theirs.sample_ids) == list(ours.sample_ids)
        for index in range(len(theirs)):
            np.testing.assert_array_equal(theirs[index]["image"], ours[index]["image"])
    with pytest.raises(DatasetError, match="was prepared with"):
        open_packed(tmp_path / "packed", load_dataset("table", file=root / "t.csv", target="y"))


def test_prepared_frames_that_a_table_names_need_no_files(root: Path, tmp_path: Path) -> None:
    write(tmp_path, 8)
    rows = [
        f"{path},{page},{path[0]}" for path, pages in (("b/01.tif", 3), ("a/02.tif", 4), ("b/05.tif", 4)) for page in range(pages)
    ]
    (tmp_path / "one.csv").write_text("image,page,y\n" + "\n".join(rows) + "\n")
    options = {"file": tmp_path / "one.csv", "target": "y", "frame_number": "page"}
    write_packed(load_dataset("table", **options), Preprocess(size=(8, 8), channels=3), tmp_path / "packed")
    for path in tmp_path.rglob("*.tif"):
        path.unlink()
    assert len(load_dataset("table", **options, packed=str(tmp_path / "packed"))) == 11


def test_the_frames_of_a_file_are_the_planes_of_a_volume(root: Path, tmp_path: Path) -> None:
    lines = ["image,y"]
    for file in range(6):
        made = [picture(file, page) for page in range(3 + file)]
        (tmp_path / f"{'ab'[file % 2]}").mkdir(exist_ok=True)
        (tmp_path / f"{'ab'[file % 2]}/{file}.tif").write_bytes(animation(made, "TIFF"))
        lines.append(f"{'ab'[file % 2]}/{file}.tif,{file % 2}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    for name in ("folder", "table"):
        dataset = own(tmp_path, name, frames="volume", channels=1)
        assert len(dataset) == 6
        assert data_card(dataset)["frames"] == "volume"
        for path in dataset.table["path"]:
            planes = np.stack([np.asarray(picture(int(path[2]), page)) for page in range(3 + int(path[2]))])
            np.testing.assert_array_equal(dataset.reader.read(path)[0], planes)
        assert dataset.reader.read("a/0.tif").shape == (1, 3, 12, 14)
    wanted = Preprocess(size=(4, 8, 8), channels=1, mean=(0.0,), std=(1.0,))
    write_packed(dataset, wanted, tmp_path / "packed")
    packed = own(tmp_path, "table", frames="volume", channels=1, packed=str(tmp_path / "packed"))
    assert packed.reader.frames == "volume"
    (tmp_path / "x.nii.gz").touch()
    (tmp_path / "n.csv").write_text("image\nx.nii.gz\n")
    with pytest.raises(ConfigError, match="NIfTI files are volumes"):
        load_dataset("table", file=tmp_path / "n.csv", channels=1, frames="volume")


def test_verify_counts_the_files_of_several_frames_and_says_what_becomes_of_them(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 12)

    def said(*options: str) -> tuple[int, str]:
        code = main(["verify", "data=folder", f"data.root={tmp_path}", *options])
        return code, capsys.readouterr().out

    held = "8 files hold several frames (3 to 4, 28 in all): "
    code, out = said()
    assert code == 1
    assert held + "each is refused, or of an animated PNG the first picture read" in out
    assert "PROBLEM: 8 images cannot be read" in out
    code, out = said("data.frames=members")
    assert code == 0
    assert held + "28 of them are images of their own (data.frames=members, data.frame_number)" in out
    assert "no patient is known: every file is its own group" in out
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    code, out = said("data.frames=volume")
    assert code == 0
    assert held + "each file is one volume, its planes in the file's order (data.frames=volume)" in out


def test_what_is_said_of_a_frame_names_it(root: Path) -> None:
    with pytest.raises(ImageError, match=r"01\.tif: holds 3 pages, and none is number 7 \(from 0\)"):
        own(root, "table").reader.read("b/01.tif", 7)
    path = root / "b/01.tif"
    np.testing.assert_array_equal(
        decode_frames(path, channels=1, dtype="uint8")[1], decode_image(Frame(path, 1), channels=1, dtype="uint8")
    )
