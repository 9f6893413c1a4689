"""Which files are images, by content; what file managers leave is passed over; what is left out is counted by kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo.cli import main
from medzoo.data.errors import DatasetError, ImageError
from medzoo.data.images.decode import decode_image, pixel_count
from medzoo.data.images.files import FileReader
from medzoo.data.images.kinds import kind_of, summary
from medzoo.data.images.listing import MAX_PATHS, find_images, images_below, list_files, list_images, same_files
from medzoo.data.registry import load_dataset
from tests.data.images.makers import dicom, dicom_data, encoded, nifti, written

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
READ = {
    "a.png": "PNG",
    "b.JPG": "JPEG",
    "c.jfif": "JPEG",
    "d.jpe": "JPEG",
    "e.webp": "WEBP",
    "f.gif": "GIF",
    "g.TIFF": "TIFF",
    "h.bmp": "BMP",
    "i.jp2": "JPEG2000",
    "j.ppm": "PPM",
    "without": "PNG",
    "k.image": "JPEG",
    "l.tmp": "WEBP",
}
LEFT_BY_SYSTEMS = ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden/x.png", "__MACOSX/a.png", "__MACOSX/._a.png")


def fill(folder: Path) -> Path:
    for name, form in READ.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(PICTURE, form))
    for name in LEFT_BY_SYSTEMS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07")
    return folder


def leave(folder: Path) -> None:
    """Nine files that are no images of one plane."""
    (folder / "x.avif").write_bytes(b"\0\0\0\x1cftypavif" + bytes(20))
    (folder / "y.heic").write_bytes(b"\0\0\0\x1cftypheic" + bytes(20))
    (folder / "z").write_bytes(b"\0\0\0\x1cftypheic" + bytes(20))
    for number in range(2):
        (folder / f"list{number}.csv").write_text("a,b\n1,2\n")
    (folder / "scan.nii.gz").write_bytes(nifti(np.zeros((2, 2, 2), np.uint8)) if has_nibabel() else b"")
    (folder / "vector.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "report.pdf").write_bytes(b"%PDF-1.7")
    (folder / "random").write_bytes(bytes(range(200, 256)))


def has_nibabel() -> bool:
    try:
        import nibabel  # noqa: F401
    except ImportError:
        return False
    return True


def test_images_are_found_by_content_and_name(tmp_path: Path) -> None:
    assert images_below(fill(tmp_path)) == (sorted(READ), [])


def test_every_kind_that_is_found_is_read(tmp_path: Path) -> None:
    for path in images_below(fill(tmp_path))[0]:
        assert decode_image(tmp_path / path, channels=3, dtype="uint8").shape == (16, 16, 3)


def test_what_is_left_out_is_counted_by_kind(tmp_path: Path) -> None:
    leave(fill(tmp_path))
    listing = find_images([tmp_path])
    assert len(listing.found) == len(READ)
    assert listing.note == (
        "left out: 2 HEIC, 2 csv, 1 AVIF, 1 PDF, 1 SVG, 1 nii.gz, 1 of unknown kind (not images that are read here)"
    )
    assert [name for name, _ in list_images([tmp_path])] == [str(tmp_path / name) for name in sorted(READ)]


def test_a_folder_of_nothing_that_is_read_says_what_it_holds(tmp_path: Path) -> None:
    leave(tmp_path)
    with pytest.raises(ImageError, match=r"no image in folder .*; it holds 2 HEIC, 2 csv"):
        find_images([tmp_path])
    with pytest.raises(DatasetError, match=r"no image below .*; it holds 2 HEIC, 2 csv"):
        load_dataset("folder", root=tmp_path)


def test_volumes_are_what_a_model_of_volumes_looks_for(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    leave(fill(tmp_path))
    (tmp_path / "no_ending").write_bytes(nifti(np.zeros((2, 2, 2), np.uint8), packed=False))
    listing = find_images([tmp_path], dimensions=3)
    assert [Path(name).name for name, _ in listing.found] == ["no_ending", "scan.nii.gz"]
    assert "left out: " in str(listing.note)
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="which this model of volumes takes"):
        find_images([tmp_path / "none"], dimensions=3)


def test_a_damaged_file_with_an_images_name_is_never_passed_over(tmp_path: Path) -> None:
    for name in ("empty.png", "page.jpg", "pointer.tif"):
        (tmp_path / name).write_bytes({"empty.png": b"", "page.jpg": b"<html>"}.get(name, b"version https://git-lfs.github.com"))
    assert len(images_below(tmp_path)[0]) == 3
    with pytest.raises(ImageError, match="it is HTML"):
        decode_image(tmp_path / "page.jpg", channels=1, dtype="uint8")
    with pytest.raises(ImageError, match="it is git-lfs pointer"):
        decode_image(tmp_path / "pointer.tif", channels=1, dtype="uint8")


def test_class_folders_take_every_kind_and_note_the_rest(tmp_path: Path) -> None:
    for name in ("ill", "well"):
        (tmp_path / name).mkdir()
        fill(tmp_path / name)
    (tmp_path / "well" / "notes.txt").write_text("hello")
    (tmp_path / "well" / "y.heic").write_bytes(b"\0\0\0\x1cftypheic" + bytes(20))
    dataset = load_dataset("folder", root=tmp_path)
    assert len(dataset) == 2 * len(READ)
    assert dataset.labels is not None
    assert dataset.labels.names == ("ill", "well")
    assert "left out: 1 HEIC, 1 txt (not images that are read here)" in dataset.info.notes


def test_a_table_may_name_any_kind(tmp_path: Path) -> None:
    fill(tmp_path)
    rows = "".join(f"{name},{'ab'[place % 2]}\n" for place, name in enumerate(sorted(READ)))
    (tmp_path / "labels.csv").write_text("image,label\n" + rows)
    dataset = load_dataset("table", file=tmp_path / "labels.csv", target="label")
    assert len(dataset) == len(READ)
    assert all(dataset.reader.read(path).shape == (3, 16, 16) for path in dataset.table["path"])


def test_an_animation_of_several_pictures_says_so(tmp_path: Path) -> None:
    frames = [Image.fromarray(PICTURE // (n + 1)) for n in range(3)]
    for form in ("GIF", "WEBP"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        with pytest.raises(ImageError, match="holds 3 pages"):
            decode_image(data, channels=3, dtype="uint8")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", None),
        (b"BMnothing", "text"),
        (b"P5 is a text", "PNM"),
        (b"hello", "text"),
        (b"\x1f\x8b" + bytes(20), "gzip"),
        (b"RIFF", "video"),
    ],
)
def test_short_and_odd_beginnings(data: bytes, kind: str | None) -> None:
    assert kind_of(data) == kind


def test_dicom_objects_without_pixels_are_left_out_and_counted(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    for name, uid in {"DICOMDIR": "1.2.840.10008.1.3.10", "SR000001": "1.2.840.10008.5.1.4.1.1.88.33", "IM000001": None}.items():
        data = dicom_data()
        data.SOPClassUID = uid or data.SOPClassUID  # pydicom writes it into the meta information
        (tmp_path / name).write_bytes(written(data))
    assert images_below(tmp_path) == (["IM000001"], ["DICOM without pixels"] * 2)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder of two classes beside a text whose name is Latin-1, as archives made on Windows unpack."""
    drawn = iter(np.random.default_rng(0).integers(0, 256, (12, 8, 8)).astype(np.uint8))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(6):
            (tmp_path / name / f"{number}.png").write_bytes(encoded(next(drawn), "PNG"))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/not\xe9s.t\xe9t")).write_text("hello")
    (tmp_path / "t.csv").write_text("image,label\na/0.png,x\na/1.png,y\nb/0.png,x\nb/1.png,y\n")
    return tmp_path


def test_a_stray_file_whose_name_is_not_utf_8_does_not_matter(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_files(odd, (".png",)) == list_files(odd)[:12]
    found, left_out = images_below(odd)
    assert (len(found), sorted(left_out)) == (12, ["csv", "text"])
    for data in (["data=folder", f"data.root={odd}"], ["data=table", f"data.file={odd / 't.csv'}", "data.target=label"]):
        assert main(["verify", *data]) == 0, capsys.readouterr()


def test_an_image_whose_name_is_not_utf_8_is_one_line(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = os.fsdecode(os.fsencode(odd) + b"/a/caf\xe9.png")
    Path(image).write_bytes((odd / "a" / "0.png").read_bytes())
    with pytest.raises(ImageError, match=r"/a/caf\\xe9\.png: this name is not UTF-8; rename it"):
        find_images([odd])
    for arguments in (["verify", "data=folder", f"data.root={odd}"], ["predict", "model.onnx", image]):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "caf\\xe9.png" in said


@pytest.mark.parametrize(
    ("shape", "told"),
    [((16, 16, 3), "is one image, not several"), ((16, 16), "is one image"), ((0, 16, 16, 3), "'images' holds no image")],
)
def test_an_archive_of_one_image_or_of_none_is_one_line(shape: tuple[int, ...], told: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match=rf"x\.npz: .*{told}"):
        find_images([tmp_path / "x.npz"])


def test_an_archive_of_gray_images_or_of_volumes_is_all_of_them(tmp_path: Path) -> None:
    for dimensions, shape in ((2, (4, 16, 16)), (2, (4, 16, 16, 3)), (3, (4, 5, 16, 16))):
        np.savez(tmp_path / "x.npz", images=np.zeros(shape, np.uint8))
        assert len(find_images([tmp_path / "x.npz"], dimensions=dimensions).found) == 4


def test_a_bare_dicom_is_known_by_its_elements() -> None:
    pytest.importorskip("pydicom")
    assert kind_of(dicom()) == kind_of(dicom()[132:]) == "DICOM"
    for numbers in ([2, 0, 0, 0], [8, 1, 2, 3], [2, 4, 0, 0], [8, 2, 8, 2]):  # arrays of small numbers are none
        assert kind_of(np.array(numbers * 9, "<i4").tobytes()) is None
        assert kind_of(np.array(numbers * 9, "<i2").tobytes()) is None
    assert summary(["b", "a", "b"]) == "2 b, 1 a"


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A pool of two files that A and B name by links, with a ring in it."""
    (tmp_path / "pool").mkdir()
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scans").symlink_to("../pool")
    for number in range(2):
        (tmp_path / "pool" / f"{number}.png").write_bytes(encoded(PICTURE + number, "PNG"))
    (tmp_path / "pool" / "all").symlink_to("..")
    (tmp_path / "pool" / "gone").symlink_to("nowhere")
    (tmp_path / "pool" / "itself").symlink_to("itself")
    return tmp_path


def test_a_linked_folder_is_listed_under_every_path_that_leads_to_it(linked: Path) -> None:
    found = [path for path in list_files(linked, (".png",)) if "all/" not in path]
    assert found == [f"{folder}/{number}.png" for folder in ("A/scans", "B/scans", "pool") for number in range(2)]
    assert {path for path in list_files(linked) if "pool/all" in path} == set()  # the ring is followed nowhere
    assert list_files(linked, (".png",), once=True) == ["pool/0.png", "pool/1.png"]
    assert same_files(linked, found) == {path: f"pool/{path[-5:]}" for path in found}
    assert same_files(linked, found[:4]) == {path: f"A/scans/{path[-5:]}" for path in found[:4]}
    reader = FileReader(linked)
    assert len({reader.identity(path) for path in found}) == 2
    assert reader.identity("pool/0.png") == f"{os.path.realpath(linked)}/pool/0.png"
    assert reader.identity("A/scans/0.png|B/scans/1.png") == f"{os.path.realpath(linked)}/pool/0.png|pool/1.png"
    assert reader.identity("A/scans") == reader.identity("B/scans")  # a series


def test_pipes_are_left_out_and_one_that_is_named_is_one_line(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "nothing.png").symlink_to(tmp_path / "nowhere")
    assert images_below(tmp_path) == (["a.png", "nothing.png"], [])
    for endless in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(ImageError, match=r"a pipe, a socket or a device, whose end nobody knows; save it as a file$"):
            find_images([endless])
        with pytest.raises(ImageError, match="save it as a file"):
            decode_image(endless, channels=1, dtype="uint8")
        assert pixel_count(endless) is None


def test_links_that_make_paths_without_end_are_one_line(tmp_path: Path) -> None:
    for number in range(40):  # 2 ** 40 paths
        (tmp_path / f"{number:02}").mkdir()
        for name in ("a", "b"):
            (tmp_path / f"{number:02}" / name).symlink_to(f"../{number + 1:02}")
    (tmp_path / "40").mkdir()
    with pytest.raises(ImageError, match=rf"symbolic links lead to this folder by more than {MAX_PATHS} paths; remove them"):
        list_files(tmp_path)


def test_a_table_may_name_one_folder_by_several_links(linked: Path) -> None:
    (linked / "C").mkdir()
    (linked / "C" / "scans").symlink_to("../A")
    for folders, count in ((("A", "B"), 4), (("B", "C"), 4), (("C",), 2)):
        inside = {"A": "scans", "B": "scans", "C": "scans/scans"}
        names = [f"{folder}/{inside[folder]}/{number}.png" for folder in folders for number in range(2)]
        rows = "".join(f"{name},{'xy'[place % 2]},{place}\n" for place, name in enumerate(names))
        (linked / "t.csv").write_text("image,label,patient\n" + rows)
        dataset = load_dataset("table", file=linked / "t.csv", target="label")
        assert len(dataset) == count
        assert dataset.table["group"].nunique() == 2
        assert dataset.table.groupby(dataset.table["path"].str[-5:])["split"].nunique().max() == 1
