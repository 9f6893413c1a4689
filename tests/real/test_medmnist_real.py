"""The official MedMNIST files, with checksums, against the medmnist package's own loader."""

from __future__ import annotations

import medmnist
import numpy as np
import pytest
from medmnist import INFO

from medzoo.data import load_dataset
from medzoo.data.dataset import target_matrix
from medzoo.data.errors import DatasetError


@pytest.mark.parametrize("flag", ["retinamnist", "adrenalmnist3d"])
def test_the_official_file_is_read_as_its_authors_read_it(real_data, flag):
    root = real_data / "medmnist"
    dataset = load_dataset("medmnist", set=flag, root=str(root))  # the MD5 is compared
    assert dataset.table["split"].value_counts().to_dict() == INFO[flag]["n_samples"]
    assert not any("not the official file" in note for note in dataset.info.notes)
    for split in ("train", "val", "test"):
        theirs = getattr(medmnist, INFO[flag]["python_class"])(split=split, root=str(root))
        rows = dataset.rows(split)
        codes = target_matrix(rows, dataset.labels).argmax(1)
        np.testing.assert_array_equal(codes, theirs.labels[:, 0])
        images = dataset.reader.arrays[rows["array_index"]]
        channels_last = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(channels_last, theirs.imgs)


def test_grades_of_retinamnist(real_data):
    # Counts of the published file: grade 0 is the commonest in every split.
    dataset = load_dataset("medmnist", set="retinamnist", root=real_data / "medmnist")
    counts = dataset.table.groupby("split")["target"].value_counts().unstack()
    assert counts.loc["test"].tolist() == [174, 46, 92, 68, 20]
    assert counts.sum(axis=1).to_dict() == {"train": 1080, "val": 120, "test": 400}


def test_one_flipped_bit_is_noticed(real_data, tmp_path):
    content = bytearray((real_data / "medmnist" / "adrenalmnist3d.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "adrenalmnist3d.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"its MD5 is .*, the published one bbd3c5a5576322bc4cdfea780653b1ce"):
        load_dataset("medmnist", set="adrenalmnist3d", root=tmp_path)
    with pytest.raises(DatasetError, match="cannot be read"):
        load_dataset("medmnist", set="adrenalmnist3d", root=tmp_path, verify=False)
