"""MedMNIST: our table of sets against the medmnist package's, and files that are right, wrong, old or broken."""

from __future__ import annotations

import hashlib
import io
import zipfile

import medmnist
import numpy as np
import pytest
from medmnist import INFO

from medzoo.data import dataset_infos, load_dataset
from medzoo.data.dataset import target_matrix
from medzoo.data.datasets.medmnist.sets import OLD_RELEASES, SETS
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from tests.data.datasets.medmnist_files import COUNTS, arrays, save

KINDS = {
    "multi-class": "multiclass",
    "binary-class": "multiclass",
    "multi-label, binary-class": "multilabel",
    "ordinal-regression": "ordinal",
}
INFOS = {info.name.removeprefix("medmnist/"): info for info in dataset_infos("medmnist")}


@pytest.mark.parametrize("flag", INFO)
def test_every_set_is_as_the_medmnist_package_says(flag):
    theirs, ours = INFO[flag], INFOS[flag]
    assert list(ours.labels.names) == [theirs["label"][str(k)] for k in range(len(theirs["label"]))]
    assert ours.labels.kind == KINDS[theirs["task"]]
    assert ours.counts == theirs["n_samples"]
    assert ours.licence == theirs["license"]
    assert ours.title == theirs["python_class"]
    assert SETS[flag].channels == theirs["n_channels"]
    sizes = getattr(medmnist, theirs["python_class"]).available_sizes
    assert list(SETS[flag].sizes) == sizes
    expected = []
    for size in sizes:
        suffix = "" if size == 28 else f"_{size}"
        expected.append((f"{flag}{suffix}.npz", theirs[f"url{suffix}"], f"md5:{theirs[f'MD5{suffix}']}"))
    assert [(f.name, f.url, f.checksum) for f in ours.files] == expected


def test_all_18_sets_have_cards_that_other_rooms_can_use():
    assert list(INFOS) == list(INFO)
    for info in INFOS.values():
        assert info.split_unit == "image"
        assert any("per image" in note for note in info.notes)
    assert any("commercial" in note for note in INFOS["dermamnist"].notes)
    current = {file.checksum for info in INFOS.values() for file in info.files}
    assert not current & {f"md5:{md5}" for md5 in OLD_RELEASES}


@pytest.mark.parametrize("flag", INFO)
@pytest.mark.parametrize("size", [28, 64])
def test_every_set_loads_as_the_medmnist_package_loads_it(flag, size, tmp_path):
    made = arrays(flag, size)
    save(tmp_path, flag, made, size)
    ours = load_dataset("medmnist", set=flag, size=size, root=str(tmp_path), verify=False)
    for split in COUNTS:
        theirs = getattr(medmnist, INFO[flag]["python_class"])(split=split, root=str(tmp_path), size=size)
        rows = ours.rows(split)
        images = np.stack([ours.reader.read(i) for i in rows["array_index"]])
        targets = target_matrix(rows, ours.labels)
        for i in range(len(rows)):
            image, label = theirs[i]
            if SETS[flag].volume:
                np.testing.assert_array_equal(images[i], np.round(image * 255).astype(np.uint8))
            else:
                expected = np.asarray(image)
                np.testing.assert_array_equal(images[i], expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1))
            found = targets[i].argmax(keepdims=True) if ours.labels.exclusive else targets[i]
            np.testing.assert_array_equal(found, label)
    assert ours.reader.shape == images.shape[1:]
    assert ours.reader.arrays.flags.c_contiguous


def test_the_order_of_arrays_in_the_file_does_not_matter(tmp_path):
    made = arrays("bloodmnist")
    save(tmp_path, "bloodmnist", made)
    one = load_dataset("medmnist", set="bloodmnist", root=tmp_path, verify=False)
    save(tmp_path, "bloodmnist", made, order=sorted(made, reverse=True))
    other = load_dataset("medmnist", set="bloodmnist", root=tmp_path, verify=False)
    np.testing.assert_array_equal(one.reader.arrays, other.reader.arrays)
    assert one.table.equals(other.table)


def test_ids_are_positions_in_the_official_split_and_splits_stay_official(tmp_path):
    save(tmp_path, "retinamnist", arrays("retinamnist"))
    save(tmp_path, "retinamnist", arrays("retinamnist", 64), 64)
    small, large = (load_dataset("medmnist", size=size, root=tmp_path, verify=False) for size in (28, 64))
    assert small.rows("val")["sample_id"].tolist() == [f"retinamnist/val/{i:05d}" for i in range(3)]
    assert small.table["sample_id"].tolist() == large.table["sample_id"].tolist()
    assert small.table["split"].value_counts().to_dict() == COUNTS
    assert small.options["root"] == tmp_path
    assert any("not the official file: 7/3/5 images, officially 1080/120/400" in note for note in small.info.notes)


def _expect(message, tmp_path, kind=DatasetError, **options):
    with pytest.raises(kind, match=message) as caught:
        load_dataset("medmnist", **({"set": "breastmnist", "root": tmp_path, "verify": False} | options))
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_named_with_its_address(tmp_path):
    _expect(
        r"breastmnist_64\.npz is not there: load with data\.download=true.*records/10519652/files/breastmnist_64\.npz",
        tmp_path,
        size=64,
    )


def test_unknown_sets_and_sizes_come_with_the_nearest(tmp_path):
    _expect("did you mean 'breastmnist'", tmp_path, UnknownNameError, set="BreastMNIST")
    _expect("sizes 28, 64, 128, 224, not 112; the nearest is 128", tmp_path, ConfigError, size=112)
    _expect("not big; the nearest is 28", tmp_path, ConfigError, size="big")
    _expect("sizes 28, 64, not 224; the nearest is 64", tmp_path, ConfigError, set="organmnist3d", size=224)


def test_the_checksum_is_compared_unless_told_otherwise(tmp_path, monkeypatch):
    path = save(tmp_path, "breastmnist", arrays("breastmnist"))
    found = hashlib.md5(path.read_bytes()).hexdigest()
    _expect(f"MD5 is {found}, the published one 750601b1f35ba3300ea97c75c52ff8f6; delete it", tmp_path, verify=True)
    monkeypatch.setitem(OLD_RELEASES, found, "of a MedMNIST release before 2.2.4")
    _expect("is of a MedMNIST release before 2.2.4", tmp_path, verify=True)


def _change(key, change):
    def changed(arrays):
        arrays[key] = change(arrays[key])
        return arrays

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {k: v for k, v in a.items() if k != "val_labels"}, "has no array 'val_labels'"),
        (_change("train_images", lambda a: a.astype(np.float32)), "train_images is float32"),
        (_change("train_images", lambda a: a[:, :20]), r"train_images is uint8 \[7, 20, 28\], not uint8 \[7, 28, 28\]"),
        (_change("train_images", lambda a: np.stack([a] * 3, -1)), r"\[7, 28, 28, 3\], not uint8 \[7, 28, 28\]"),
        (_change("test_images", lambda a: a[:4]), r"test_images is uint8 \[4, 28, 28\], not uint8 \[5, 28, 28\]"),
        (_change("val_labels", lambda a: a + 2), r"val_labels holds [23] at row 0; breastmnist's labels are 0\.\.1"),
        (_change("val_labels", lambda a: a - 1.5), r"val_labels holds -"),
        (_change("val_labels", lambda a: a * np.nan), "val_labels holds nan"),
        (_change("val_labels", lambda a: a[:, 0]), r"val_labels is uint8 \[3\], not \[N, 1\]"),
        (_change("val_labels", lambda a: a.astype(str)), r"val_labels is <U3 \[3, 1\], not"),
        (_change("val_labels", lambda a: a.astype(object)), "cannot be read .*allow_pickle=False"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path, change, message):
    save(tmp_path, "breastmnist", change(arrays("breastmnist")))
    _expect(message, tmp_path)


def test_broken_files_are_refused(tmp_path):
    path = save(tmp_path, "breastmnist", arrays("breastmnist"))
    whole = path.read_bytes()
    one_array = io.BytesIO()
    np.save(one_array, np.zeros(3))
    torn = bytearray(whole)
    torn[len(whole) // 3] ^= 0xFF  # the archive's directory is intact, an array is not
    other_zip = io.BytesIO()
    with zipfile.ZipFile(other_zip, "w") as archive:
        archive.writestr("readme.txt", "not arrays")
    for content in (b"", whole[: len(whole) // 2], b"<html>not found</html>", one_array.getvalue(), bytes(torn)):
        path.write_bytes(content)
        _expect("cannot be read .*: truncated or not an .npz file; download it again", tmp_path)
    path.write_bytes(other_zip.getvalue())
    _expect(r"has no array 'train_images' \(it has readme\.txt\)", tmp_path)


def test_a_file_is_downloaded_when_asked_and_then_checked(tmp_path, monkeypatch):
    fetched = []

    def fetch(file, folder):
        fetched.append((file.url, folder))
        return save(folder, "breastmnist", arrays("breastmnist"))

    monkeypatch.setattr("medzoo.data.datasets.medmnist.load.fetch_file", fetch)
    _expect("the published one", tmp_path, download=True, verify=True)
    assert fetched == [(INFO["breastmnist"]["url"], tmp_path)]
    assert len(load_dataset("medmnist", set="breastmnist", root=tmp_path, verify=False, download=True)) == 15
    assert len(fetched) == 1  # it is there now


def test_the_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".medmnist").mkdir()
    save(tmp_path / ".medmnist", "retinamnist", arrays("retinamnist"))
    assert len(load_dataset("medmnist", verify=False)) == 15
