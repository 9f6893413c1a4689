"""Regions: boxes as masks by hand; the phantom's own against what its drawing changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medzoo.data.audit.audit import audit
from medzoo.data.datasets.phantom.image import CONCEPTS, PhantomReader
from medzoo.data.datasets.phantom.regions import PhantomRegions
from medzoo.data.errors import DatasetError
from medzoo.data.images.decode import read_image
from medzoo.data.regions.marked import BoxRegions, MaskRegions
from medzoo.data.regions.masks import file_mask
from medzoo.data.regions.turned import turned_note
from medzoo.data.registry import load_dataset

BOX = {"sample_id": "a", "label": "mass", "x": 2.0, "y": 1.0, "width": 3.0, "height": 2.0}


def test_a_box_is_the_pixels_whose_centres_lie_in_it() -> None:
    regions = BoxRegions(pd.DataFrame([BOX, {**BOX, "label": "nodule", "x": 0.6, "width": 1.0}]))
    (mask,) = regions.of("a", "mass", (5, 8))
    expected = np.zeros((5, 8), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(mask, expected)
    (shifted,) = regions.of("a", "nodule", (5, 8))  # 0.6 to 1.6: of the centres 0.5, 1.5, 2.5 the second
    assert np.argwhere(shifted).tolist() == [[1, 1], [2, 1]]
    assert regions.names == ("mass", "nodule")
    assert regions.of("b", "mass", (5, 8)) == []


def test_boxes_of_a_larger_original_are_scaled_and_those_of_volumes_have_depth() -> None:
    (small,) = BoxRegions(pd.DataFrame([BOX]), (10, 16)).of("a", "mass", (5, 8))
    assert np.argwhere(small).tolist() == [[0, 1]]  # x 1 to 2.5 and y 0.5 to 1.5: a centre on the first edge belongs to it
    deep = BoxRegions(pd.DataFrame([{**BOX, "z": 1.0, "depth": 1.0}]))
    (mask,) = deep.of("a", "mass", (3, 5, 8))
    assert mask.sum() == 6
    assert mask[1, 1:3, 2:5].all()


def test_a_box_that_leaves_the_image_is_refused() -> None:
    with pytest.raises(DatasetError, match="'a' spans 2 to 5 in x, the image 0 to 4"):
        BoxRegions(pd.DataFrame([BOX])).of("a", "mass", (5, 4))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("concept", ["lesion", "dark halo", "vessel"])
def test_a_phantoms_region_is_what_drawing_it_changes(dims: int, concept: str) -> None:
    """Without noise and with the same random numbers, an image with a concept differs from one without it where it lies."""
    reader = PhantomReader(seed=3, size=40, dims=dims, channels=1, noise=0.0)
    without = 0 if concept != "dark halo" else 1
    bits = without | 1 << CONCEPTS.index(concept)

    def drawn(which: int) -> np.ndarray:
        return reader._draw("s", "p", "north", which, 30.0)[0].astype(int)

    changed = np.abs(drawn(bits) - drawn(without))
    marked = reader.outlines("s", "p", "north", bits, 30.0)[concept]
    if concept == "dark halo":  # the ring alone changes, the lesion within it belongs to the region
        marked = marked & ~reader.outlines("s", "p", "north", bits, 30.0)["lesion"]
    assert 0 < marked.mean() < 0.3
    assert changed[marked].min() > 10
    assert changed[~marked].mean() < 0.25 * changed[marked].mean()
    assert concept not in reader.outlines("s", "p", "north", without, 30.0)


def test_a_label_of_the_phantom_lies_where_its_lesion_does() -> None:
    dataset = load_dataset("phantom", patients=10, size=32)
    assert dataset.regions is not None
    for row in dataset.table.to_dict("records"):
        name = dataset.labels.names[int(row["target"])]  # type: ignore[union-attr]
        lesion = dataset.regions.of(row["sample_id"], "lesion", (32, 32))
        assert len(lesion) == int(row["concept.lesion"])
        for label in ("cyst", "calcified nodule", "tumour"):
            found = dataset.regions.of(row["sample_id"], label, (32, 32))
            assert len(found) == int(label == name)
            if found:
                np.testing.assert_array_equal(found[0], lesion[0])
    with pytest.raises(DatasetError, match=r"drawn in \[32, 32\] pixels, not \[64, 64\]"):
        dataset.regions.of(dataset.table["sample_id"].iloc[0], "lesion", (64, 64))


def test_what_was_drawn_of_a_lesion_is_every_pixel_that_it_changed_and_no_more() -> None:
    dataset = load_dataset("phantom", patients=12, size=40)
    assert isinstance(dataset.regions, PhantomRegions)
    reader, wider = dataset.reader, {False: [], True: []}  # type: ignore[var-annotated]
    for row in dataset.table.to_dict("records"):
        drawn = dataset.regions.drawn(row["sample_id"])
        if not row["drawn"] & 1:
            assert not drawn.any()
            continue
        (outline,) = dataset.regions.of(row["sample_id"], "lesion", (40, 40))
        values = [row[column] for column in reader.columns]
        plain = [value if column != "drawn" else value & ~0b1111 for column, value in zip(reader.columns, values, strict=True)]
        fresh = PhantomReader(reader.seed, 40, 2, 1, reader.noise)  # type: ignore[attr-defined]
        other = PhantomReader(reader.seed, 40, 2, 1, reader.noise)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(drawn, (fresh.read(*values) != other.read(*plain))[0])
        rows, inner = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(outline.any(axis=1))
        wider[bool(row["drawn"] >> CONCEPTS.index("dark halo") & 1)].append(max(inner[0] - rows[0], rows[-1] - inner[-1]))
    assert 0 <= min(wider[False]) <= max(wider[False]) <= 1  # half of a soft edge lies outside
    assert min(wider[True]) >= 2
    with pytest.raises(DatasetError, match="there is no sample 'nobody'"):
        dataset.regions.drawn("nobody")


MARKED = np.zeros((6, 8), np.uint8)
MARKED[1:3, 4:7] = 1


def _nifti(path: Path, kind: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.stack([MARKED.T] * 5, axis=-1).astype(kind), np.eye(4)), path)


@pytest.mark.parametrize("form", ["L", "I;16", "1", "P", "tif", "float", "blue"])
def test_a_mask_is_whatever_its_file_keeps_above_zero(form: str, tmp_path: Path) -> None:
    """Label images say 1, in 8 bits and in 16; colours as dark as their gray is black; floats."""
    path = tmp_path / ("mask.tif" if form in ("tif", "float") else "mask.png")
    if form == "P":
        image = Image.fromarray(MARKED, "P")
        image.putpalette([0, 0, 0, 0, 0, 1])
    elif form == "blue":
        image = Image.fromarray(np.stack([MARKED * 0, MARKED * 0, MARKED], axis=-1))
    else:
        kind = {"I;16": np.uint16, "tif": np.uint16, "float": np.float32, "1": bool}.get(form, np.uint8)
        image = Image.fromarray(MARKED.astype(kind))
    image.save(path)
    np.testing.assert_array_equal(file_mask(path, (6, 8)), MARKED > 0)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int8", "float32"])
def test_a_mask_of_nifti_is_of_any_type(kind: str, tmp_path: Path) -> None:
    _nifti(tmp_path / "mask.nii.gz", kind)
    found = file_mask(tmp_path / "mask.nii.gz", (5, 6, 8))
    assert found.sum() == 5 * MARKED.sum()


def test_a_mask_that_is_transparent_is_refused_and_one_with_a_full_alpha_read(tmp_path: Path) -> None:
    for colour, alpha in ((0, MARKED * 255), (255, MARKED * 255)):
        Image.fromarray(np.stack([np.full_like(MARKED, colour), alpha], axis=-1), "LA").save(tmp_path / "a.png")
        with pytest.raises(DatasetError, match="transparent in part; save it without alpha"):
            file_mask(tmp_path / "a.png", (6, 8))
    Image.fromarray(np.stack([MARKED, np.full_like(MARKED, 255)], axis=-1), "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(file_mask(tmp_path / "a.png", (6, 8)), MARKED > 0)


def test_a_black_mask_marks_nothing(tmp_path: Path) -> None:
    Image.fromarray(MARKED * 0).save(tmp_path / "none.png")
    Image.fromarray(MARKED).save(tmp_path / "one.png")
    table = pd.DataFrame({"sample_id": ["a", "a"], "label": ["x", "x"], "mask": ["none.png", "one.png"]})
    (mask,) = MaskRegions(table, tmp_path).of("a", "x", (6, 8))
    np.testing.assert_array_equal(mask, MARKED > 0)


TURNS = {3: 2, 6: -1, 8: 1}
"""EXIF's orientations → quarter turns to the left that make the stored pixels upright."""


def turned_image(path: Path, orientation: int, shape: tuple[int, int] = (24, 32)) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.zeros(shape, np.uint8)).save(path, exif=exif)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_mask_of_the_stored_pixels_is_turned_along_where_its_proportions_say_so(
    orientation: int, scale: int, tmp_path: Path
) -> None:
    turned_image(tmp_path / "a.jpg", orientation)
    stored = np.zeros((24, 32), np.uint8)
    stored[2:5, 20:28] = 1
    upright = np.rot90(stored, TURNS[orientation])
    Image.fromarray(np.kron(stored, np.ones((scale, scale), np.uint8))).save(tmp_path / "stored.png")
    Image.fromarray(np.kron(upright, np.ones((scale, scale), np.uint8))).save(tmp_path / "upright.png")
    size, image = upright.shape, tmp_path / "a.jpg"
    assert read_image(image, channels=1, dtype="uint8").shape[:2] == size
    np.testing.assert_array_equal(file_mask(tmp_path / "upright.png", size, image=image), upright > 0)
    expected = stored if orientation == 3 else upright  # of half a turn nothing tells: the upright image's
    np.testing.assert_array_equal(file_mask(tmp_path / "stored.png", size, image=image), expected > 0)
    tagged = Image.Exif()
    tagged[274] = orientation
    Image.fromarray(stored).save(tmp_path / "tagged.png", exif=tagged)
    np.testing.assert_array_equal(file_mask(tmp_path / "tagged.png", size, image=image), upright > 0)
    if orientation != 3:
        with pytest.raises(DatasetError, match="of other proportions; save it for the image as it is read, turned as its EXIF"):
            file_mask(tmp_path / "stored.png", size)
        turned_image(tmp_path / "a.jpg", 1)
        with pytest.raises(DatasetError, match="of other proportions"):
            file_mask(tmp_path / "stored.png", size, image=image)


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_images_that_are_turned_and_have_regions_are_counted(kind: str, tmp_path: Path) -> None:
    for number, orientation in enumerate((1, 3, 6, 3, 1, 6)):
        turned_image(tmp_path / f"{number}.jpg", orientation)
        Image.fromarray(np.full((32, 24) if orientation == 6 else (24, 32), number, np.uint8)).save(tmp_path / f"{number}.png")
    rows = "".join(f"{n}.jpg,{'xy'[n % 2]},{n}\n" for n in range(6))
    (tmp_path / "t.csv").write_text("image,label,patient\n" + rows)
    header, cells = ("mask", "{}.png") if kind == "mask" else ("x,y,width,height", "1,2,3,4")
    lines = "".join(f"{n}.jpg,x,{cells.format(n)}\n" for n in range(4))
    (tmp_path / "b.csv").write_text(f"sample_id,label,{header}\n{lines}")
    dataset = load_dataset("table", file=tmp_path / "t.csv", target="label", group="patient", boxes=tmp_path / "b.csv")
    notes = audit(dataset)["notes"]
    said = "3 images are turned by EXIF and have regions (such as 1.jpg): regions are taken to be of the upright image"
    assert sum(note.startswith(said) for note in notes) == 1
    assert turned_note(dataset.regions, dataset.table.iloc[[0, 4, 5]], dataset.reader) is None
    assert turned_note(None, dataset.table, dataset.reader) is None
    assert dataset.regions is not None
    if kind == "mask":  # the table knows the images' files
        Image.fromarray(np.full((24, 32), 1, np.uint8)).save(tmp_path / "2.png")
        assert dataset.regions.of("2.jpg", "x", (32, 24))[0].all()
