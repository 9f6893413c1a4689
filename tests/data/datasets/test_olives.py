"""OLIVES: labels by name, files found in spite of the label file, visits, volumes, shards, audits; then trained."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medzoo.cli import main
from medzoo.data import dataset_infos, load_dataset
from medzoo.data.errors import ConfigError, DatasetError, ImageError
from medzoo.data.images.files import StackReader
from tests.data.datasets.olives_files import (
    HEADER,
    LONG_HEADER,
    NAMES,
    PATH,
    SCAN,
    csv_bytes,
    disk_path,
    gray,
    label_rows,
    write_shards,
    write_tree,
)

CSV = "OLIVES_Dataset_Labels/ml_centric_labels/Biomarker_Clinical_Data_Images.csv"
ONE = "Prime_FULL/01-001/W0/OS"  # patient 57, first visit
LEFT = "TREX DME/TREX/0201TOS/V12/OS"  # the other eye of patient 201, second visit


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("olives")
    write_tree(root)
    return root


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    return root, write_shards(root)


def _load(root, **options):
    return load_dataset("olives", root=str(root), **options)


def _row(dataset, sample_id):
    found = dataset.table[dataset.table["sample_id"] == sample_id]
    assert len(found) == 1
    return found.iloc[0]


def _labels_only(root, rows, header=HEADER, **options):
    write_tree(root, rows, header, images=False)
    return _load(root, missing="ignore", **options)


def _refused(message, root, kind=DatasetError, **options):
    with pytest.raises(kind, match=message) as caught:
        _load(root, **options)
    assert "\n" not in str(caught.value)


def test_a_row_of_the_label_file(tree):
    dataset = _load(tree)
    assert len(dataset) == 14 * 2 * 3
    assert (dataset.labels.kind, list(dataset.labels.names)) == ("multilabel", NAMES)
    assert dataset.concepts is None
    row = _row(dataset, f"{ONE}/1.tif")  # patient 57, scan 2, so 59 + k: 1 where k is 1, 4, 7, 10, 13
    assert [row[f"target.{name}"] for name in NAMES] == [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]
    plain = ("group", "disease", "trial", "laterality", "eye_id", "scan", "visit", "week", "input.bcva", "input.cst")
    assert [row[name] for name in plain] == ["57", "DR", "PRIME", "OS", "1", 2, 0, 0.0, 61.0, 301.0]
    other = _row(dataset, f"{LEFT}/TREXJ_000002.tif")
    plain = ("group", "disease", "trial", "arm", "laterality", "eye_id", "visit", "input.bcva")
    assert [other[name] for name in plain] == ["201", "DME", "TREX", "TREX", "OS", "8", 1, 68.0]
    assert np.isnan(other["week"])
    late = _row(dataset, "Prime_FULL/01-002/W104/OD/0.tif")
    assert (late["visit"], late["week"]) == (1, 104.0)
    assert dataset.table["arm"].isna().sum() == 36
    assert dataset.subgroups == ("disease", "arm")
    assert "input.week" not in dataset.table.columns  # missing means TREX-DME


def test_every_scan_is_found_and_is_its_own(tree):
    dataset = _load(tree)
    assert dataset.reader.shape is None
    rows = {row[PATH].lstrip("/"): (number, disk_path(row[PATH])) for number, row in enumerate(label_rows())}
    for sample, path in zip(dataset.table["sample_id"], dataset.table["path"], strict=True):
        assert path == rows[sample][1]
        if not path.endswith("jpg"):
            np.testing.assert_array_equal(dataset.reader.read(path)[0], np.asarray(gray(rows[sample][0])))
    assert {"OLIVES/Prime_FULL/" + ONE + "/0.png", "OLIVES/TREX DME/TREX/0206tos/V1/OS/TREXJ_000000.TIF"} <= set(
        dataset.table["path"]
    )
    # The six of patient 57 as .png, the six of 205 as .jpg; capitals are no other extension.
    assert "12 files have another extension than in the label file" in dataset.info.notes


def test_the_targets(tree):
    disease = _load(tree, target="disease")
    assert disease.labels.names == ("DR", "DME")
    assert disease.table.groupby("trial")["target"].unique().map(list).to_dict() == {"PRIME": [0.0], "TREX": [1.0]}
    assert disease.subgroups == ()
    assert list(disease.concepts.names) == NAMES
    assert _row(disease, f"{ONE}/1.tif")["concept.Disruption of EZ"] == 1
    clinical = _load(tree, target="clinical")
    assert (clinical.labels.kind, clinical.labels.names, clinical.labels.units) == (
        "regression", ("BCVA", "CST"), ("letters", "um"),
    )  # fmt: skip
    assert _row(clinical, f"{LEFT}/TREXJ_000002.tif")[["target.BCVA", "target.CST"]].tolist() == [68, 308]
    assert not [c for c in clinical.table.columns if c.startswith("input.")]  # they are the target
    assert list(clinical.concepts.names) == NAMES


def test_both_eyes_of_a_patient_stay_together_for_every_seed_and_kind(tree, shards):
    places = {}
    for seed in range(4):
        dataset = _load(tree, seed=seed)
        assert dataset.table["group"].nunique() == 12
        places[seed] = dataset.table.groupby("group")["split"].unique().map(list).to_dict()
        assert all(len(splits) == 1 for splits in places[seed].values())
        others = (_load(tree, seed=seed, images="volume", target="clinical"), _load(shards[0], source="parquet", seed=seed))
        for other in others:
            assert other.table.groupby("group")["split"].unique().map(list).to_dict() == places[seed]
    assert {g for g, s in places[0].items() if s != ["train"]} == {"58", "202", "59", "60"}
    assert places[0] != places[1]


def test_volumes_are_slices_in_order_and_have_what_a_slice_has(tmp_path):
    rows = label_rows()
    # In one visit: DRIL nowhere but unknown once; VMT once though unknown elsewhere; SHRM known and absent.
    here = [row for row in rows if f"/{ONE}/" in row[PATH]]
    for row, dril, vmt in zip(here, ("0", "", "0"), ("", "1", "0"), strict=True):
        row |= {"DRIL": dril, "VMT": vmt, "SHRM": "0"}
    write_tree(tmp_path, rows)
    dataset = _load(tmp_path, images="volume")
    assert len(dataset) == 28
    row = _row(dataset, ONE)
    assert np.isnan(row["target.DRIL"])
    assert (row["target.VMT"], row["target.SHRM"]) == (1, 0)
    volume = dataset.reader.read(row["paths"])
    first = rows.index(here[0])
    np.testing.assert_array_equal(volume, np.stack([np.asarray(gray(first + k)) for k in range(3)])[None])
    assert volume.shape == (1, 3, 16, 24)
    assert "28 volumes have not 49 slices in the label file" in dataset.info.notes
    # The order is that of the scan numbers, not of the lines.
    write_tree(tmp_path, rows[::-1], images=False)
    assert _row(_load(tmp_path, images="volume"), ONE)["paths"] == row["paths"]


def test_a_volume_without_a_slice_is_left_out_and_counted(tmp_path):
    write_tree(tmp_path)
    (tmp_path / disk_path(f"{ONE}/1.tif")).unlink()
    _refused(r"olives: 1 image files are not there \(Prime_FULL/01-001/W0/OS/1\.tif\)", tmp_path, images="volume")
    dataset = _load(tmp_path, images="volume", missing="skip")
    assert len(dataset) == 27
    assert ONE not in set(dataset.table["sample_id"])
    assert "1 of 28 visits left out: a volume needs the files of all its slices" in dataset.info.notes
    assert len(_load(tmp_path, missing="skip")) == 83


def test_slices_must_agree_in_size(tmp_path):
    for name, size in (("a.png", (5, 4)), ("b.png", (5, 4)), ("c.png", (4, 4)), ("d.png", (9, 9))):
        gray(0, size).save(tmp_path / name)
    reader = StackReader(tmp_path)
    assert reader.read("a.png|b.png").shape == (1, 2, 4, 5)
    assert StackReader(tmp_path, channels=3).read("a.png|b.png").shape == (3, 2, 4, 5)
    with pytest.raises(ImageError, match=r"c\.png: 4 x 4 pixels, the first slice of its volume has 5 x 4"):
        reader.read("a.png|b.png|c.png|d.png")
    with pytest.raises(ImageError, match=r"e\.png: there is no such file"):
        reader.read("a.png|e.png")


def test_fundus_images_are_found_by_their_name(tmp_path, tree):
    dataset = _load(tree, images="fundus")
    assert len(dataset) == 28
    row = _row(dataset, LEFT)
    assert row["path"] == f"OLIVES/{LEFT}/fundus_OS_V12.tif"
    number = next(n for n, r in enumerate(label_rows()) if r[PATH] == f"/{LEFT}/TREXJ_000000.tif")
    np.testing.assert_array_equal(dataset.reader.read(row["path"])[0], np.asarray(gray(10_000 + number, (30, 30))))
    assert dataset.info.modality == "fundus"
    assert row["target.SHRM"] == 1  # 201 + 3 + 15 is 219, in the third slice alone
    write_tree(tmp_path)
    folder = tmp_path / "OLIVES" / LEFT
    (folder / "fundus_OS_V12.tif").rename(folder / "IR_Fundus.JPG")
    gray(1).save(folder / "Z_fundus.png")
    dataset = _load(tmp_path, images="fundus")
    assert _row(dataset, LEFT)["path"] == f"OLIVES/{LEFT}/IR_Fundus.JPG"
    assert "1 visits have several fundus files; the first by name is taken" in dataset.info.notes
    for name in ("IR_Fundus.JPG", "Z_fundus.png"):
        (folder / name).unlink()
    _refused(r"1 image files are not there \(TREX DME/TREX/0201TOS/V12/OS/fundus_OS_V12\.tif\)", tmp_path, images="fundus")


def test_empty_cells_are_unknown_and_named_columns_are_read_wherever_they_stand(tmp_path):
    rows = label_rows()
    rows[0] |= {"DRIL": "", "BCVA": ""}
    expected = _labels_only(tmp_path, rows)
    assert np.isnan(expected.table["target.DRIL"].iloc[0])
    assert np.isnan(expected.table["input.bcva"].iloc[0])
    assert int(expected.table[[f"target.{n}" for n in NAMES]].isna().sum().sum()) == 1
    long = _labels_only(tmp_path, rows, LONG_HEADER)  # the extra columns are all 1
    assert long.table.equals(expected.table)
    assert (
        "4 other columns of Biomarker_Clinical_Data_Images.csv are ignored: Drusen (sub-RPE), Drusen (RPD), GA/MA areas, "
        "PED (fibrovascular)" in long.info.notes
    )
    assert _labels_only(tmp_path, rows, HEADER[::-1]).table.equals(expected.table)
    header, body = csv_bytes(rows).split(b"\r\n", 1)
    commas = body.replace(b"\r\n", b",\r\n")
    for content in (header + b",\r\n" + commas, header + b"\r\n" + commas):
        (tmp_path / CSV).write_bytes(b"\xef\xbb\xbf" + content)  # a BOM and trailing commas
        trailing = _load(tmp_path, missing="ignore")
        assert trailing.table.equals(expected.table)
        assert not any("ignored" in note for note in trailing.info.notes)
    (tmp_path / CSV).write_bytes(header + b"\r\n" + body.replace(b"\r\n", b",7\r\n"))
    _refused(r"Data_Images\.csv line 2: has cells beyond the 22 columns of the header \('7'\)", tmp_path)


def test_where_the_label_file_may_lie(tmp_path):
    _refused("no Biomarker_Clinical_Data_Images.csv below", tmp_path)
    for place in (".", "full_labels", "a/ml_centric_labels"):
        folder = tmp_path / place.replace(".", "only") / place
        folder.mkdir(parents=True)
        (folder / "biomarker_clinical_data_images.CSV").write_bytes(csv_bytes(label_rows()))
        assert len(_load(tmp_path, missing="ignore")) == 84  # identical copies do not matter
    (tmp_path / "Biomarker_Clinical_Data_Images.csv").write_bytes(csv_bytes(label_rows()[:6]))
    _refused("lies in 4 places with different contents", tmp_path)
    _refused("no folder at", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({PATH: "/Prime_FULL/01-001/0.tif"}, "csv line 3: 'Path .*' is '/Prime_FULL/01-001/0.tif', not .*/Prime_FULL/<subject>"),
        ({PATH: "/../Prime_FULL/01-001/W0/OS/8.tif"}, "leaves the dataset's folder"),
        ({PATH: "/prime_full/01-001/w0/os/0.PNG"}, "csv: scan 'prime/01-001/w0/os/0' stands on lines 2 and 3"),
        ({SCAN: "2.5"}, r"csv line 3: 'Scan \(n/49\)' is '2.5', not a whole number"),
        ({"SHRM": "2"}, "csv line 3: 'SHRM' is '2', not 0, 1 or empty"),
        ({"VMT": "yes"}, "csv line 3: 'VMT' is 'yes', not a number"),
        ({"CST": "x"}, "csv line 3: 'CST' is 'x', not a number"),
        ({"Patient_ID": " "}, "csv line 3: 'Patient_ID' is empty"),
        ({"Patient_ID": "201"}, "Patient_ID 201 stands in both Prime_FULL and TREX DME"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_line(tmp_path, change, message):
    rows = label_rows()
    rows[1] |= change
    write_tree(tmp_path, rows, images=False)
    _refused(message, tmp_path, missing="ignore")


def test_visits_that_contradict_themselves_are_refused(tmp_path):
    rows = label_rows()
    rows[1][SCAN] = "1"
    write_tree(tmp_path, rows, images=False)
    _refused("scan 1 of 'Prime_FULL/01-001/W0/OS' is there twice", tmp_path, missing="ignore", images="volume")
    rows[1] |= {SCAN: "2", "BCVA": "5"}
    write_tree(tmp_path, rows, images=False)
    _refused("'prime/01-001/w0/os' have different values of bcva", tmp_path, missing="ignore", images="fundus")


def test_wrong_files_and_options_are_refused(tmp_path, tree):
    columns = [c for c in HEADER if c != "PED (serous)"]
    rows = [{c: row[c] for c in columns} for row in label_rows()]
    write_tree(tmp_path, rows, columns, images=False)
    _refused(r"has no column 'PED \(serous\)'", tmp_path)
    (tmp_path / CSV).write_bytes(csv_bytes([{}], columns[1:]))
    _refused("has no column 'Path", tmp_path)
    for content, message in (
        (b"", "is empty"),
        (b'a,b\n"1,2\n', r"cannot be read \(a quote .* line 2"),
        (b"\xff\x00\xfe", "cannot be read .*line 1 is not UTF-8"),
    ):
        (tmp_path / CSV).write_bytes(content)
        _refused(rf"Data_Images\.csv {message}.*; download it again from zenodo", tmp_path)
    _refused("is for data.source=parquet", tree, ConfigError, disease_names={0: "DR", 1: "DME"})


def test_a_scan_in_two_places_is_refused(tmp_path):
    write_tree(tmp_path)
    (tmp_path / "Prime_FULL/01-002/W0/OD").mkdir(parents=True)
    gray(0).save(tmp_path / "Prime_FULL/01-002/W0/OD/0.tif")
    _refused("one scan lies in two places", tmp_path)


def test_the_audit_finds_copies_and_joins_patients_that_share_one(tmp_path):
    write_tree(tmp_path)
    plain = _load(tmp_path)
    first, second, third = (plain.table.loc[plain.table["group"] == p, "path"].iloc[0] for p in ("58", "59", "201"))
    own = plain.table.loc[plain.table["group"] == "201", "path"].iloc[5]
    content = (tmp_path / first).read_bytes()
    (tmp_path / second).write_bytes(content)
    (tmp_path / own).write_bytes((tmp_path / third).read_bytes())
    note = (
        "audit: of 84 images 2 are byte-identical copies of others (2 sets); 1 sets lie in several patients, so 12 patients "
        "were merged to 11 groups"
    )
    assert not any("audit" in note for note in _load(tmp_path).info.notes)
    for images in ("bscan", "volume"):
        dataset = _load(tmp_path, audit=True, images=images)
        assert note in dataset.info.notes
        assert sorted(set(dataset.table["group"])) == sorted({str(p) for p in [57, 58, *range(60, 63), *range(201, 207)]})
        joined = dataset.table[dataset.table["sample_id"].str.contains("01-00[23]")]
        assert set(joined["group"]) == {"58"}
        assert set(joined["split"]) == {"val"}
    assert set(plain.table.loc[plain.table["group"] == "59", "split"]) == {"test"}
    assert any("of 28 images 0 are byte-identical" in n for n in _load(tmp_path, audit=True, images="fundus").info.notes)
    (tmp_path / second).unlink()
    notes = _load(tmp_path, audit=True, missing="ignore").info.notes
    assert "audit: 1 images are not there and were not compared" in notes
    assert any(n.startswith("audit: of 83 images 1 are") for n in notes)


def test_shards_are_read_without_paths(shards):
    root, wide = shards
    dataset = _load(root, source="parquet")
    assert len(wide) == 252
    assert len(dataset) == 84
    assert "168 of 252 rows left out: they have no label for target=biomarkers" in dataset.info.notes
    assert any("1 parquet files are ignored" in n and "biomarker_detection/test-00000" in n for n in dataset.info.notes)
    # The second graded row is the fourth of the first shard: the patient 57's scan 2.
    row = _row(dataset, "train-00000-of-00002/00003")
    assert [row[f"target.{name}"] for name in NAMES] == [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]
    assert row[["group", "eye_id", "scan", "input.bcva", "input.cst", "disease_label"]].tolist() == ["57", "1", 2, 61, 301, "0"]
    assert dataset.subgroups == ("disease_label",)
    assert not {"visit", "week", "arm"} & set(dataset.table.columns)
    # Groups of 7 rows; the second shard begins at row 126. Row 129 is its row 3, row 135 its row 9.
    for sample, number, place in (("00000-of-00002/00003", 3, (0, 3)), ("00001-of-00002/00009", 135, (1, 2))):
        row = _row(dataset, f"train-{sample}")
        assert (row["row_group"], row["row"]) == place
        reader = pickle.loads(pickle.dumps(dataset.reader))  # as a loader's worker gets it
        np.testing.assert_array_equal(reader.read(*row[list(reader.columns)])[0], np.asarray(gray(number)))


def test_unlabelled_rows_of_the_shards_serve_other_targets(shards):
    root, wide = shards
    dataset = _load(root, source="parquet", target="clinical")
    assert len(dataset) == len(wide)
    concepts = dataset.table[[f"concept.{name}" for name in NAMES]].isna()
    assert concepts.all(axis=1).sum() == 168
    assert dataset.table["scan"].isna().sum() == 168


def test_the_disease_of_the_shards_must_be_named(shards):
    root, _ = shards
    _refused("data.disease_names={0:DR,1:DME}", root, ConfigError, source="parquet", target="disease")
    for wrong in ({0: "DR"}, {0: "DR", 1: "AMD"}, ["DR", "DME"], {0: "DR", 1: "DME", 2: "DR"}):
        _refused("does not name DR and DME once each", root, ConfigError, source="parquet", disease_names=wrong)
    _refused("says nothing of Disease Label 0", root, ConfigError, source="parquet", disease_names={1: "DR", 2: "DME"})
    for names in ({0: "DR", 1: "DME"}, {"0": "DR", "1": "DME"}):  # JSON has no other keys than text
        dataset = _load(root, source="parquet", target="disease", disease_names=names)
        assert dataset.table.groupby("disease_label")["target"].unique().map(list).to_dict() == {"0": [0.0], "1": [1.0]}
    other = _load(root, source="parquet", disease_names={0: "DME", 1: "DR"})
    assert _row(other, "train-00000-of-00002/00000")["disease"] == "DME"
    assert other.subgroups == ("disease",)
    for images in ("volume", "fundus"):
        _refused(f"data.images={images} needs data.source=csv", root, ConfigError, source="parquet", images=images)


def test_shards_that_are_missing_broken_or_hold_nonsense(tmp_path):
    _refused("no .parquet file below", tmp_path, source="parquet")
    rows = label_rows()
    rows[3] |= {"SHRM": "3"}
    write_shards(tmp_path / "a", rows, unlabelled=0)
    _refused("train-00000-of-00002.parquet row 3: 'SHRM' is '3', not 0, 1 or empty", tmp_path / "a", source="parquet")
    broken = tmp_path / "a" / "disease_classification" / "train-00001-of-00002.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    rows[3] |= {"SHRM": "1", "Patient_ID": ""}
    write_shards(tmp_path / "b", rows, unlabelled=0)
    _refused("row 3: 'Patient_ID' is empty", tmp_path / "b", source="parquet")
    first = tmp_path / "a" / "disease_classification" / "train-00000-of-00002.parquet"
    first.unlink()
    _refused(r"train-00001-of-00002\.parquet cannot be read .*download it again", tmp_path / "a", source="parquet")
    broken.unlink()
    _refused("none of the 1 parquet files .* has the columns", tmp_path / "a", source="parquet")
    write_shards(tmp_path / "c", unlabelled=0)
    path = tmp_path / "c" / "disease_classification" / "train-00000-of-00002.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "Image", pa.array(["x"] * len(table))), path)
    _refused("column 'Image' is string, not a struct with bytes and path", tmp_path / "c", source="parquet")


def test_an_image_of_the_shards_that_cannot_be_read_is_named(tmp_path):
    write_shards(tmp_path, unlabelled=0)
    path = tmp_path / "disease_classification" / "train-00000-of-00002.parquet"
    table = pq.read_table(path)
    images = table.column("Image").to_pylist()
    images[1], images[2] = {"bytes": None, "path": "x.png"}, {"bytes": b"nonsense", "path": None}
    pq.write_table(table.set_column(0, "Image", pa.array(images, table.schema.field("Image").type)), path, row_group_size=7)
    dataset = _load(tmp_path, source="parquet", audit=True)
    assert "audit: 1 images are not there and were not compared" in dataset.info.notes
    for row, reason in ((1, "has no image bytes"), (2, "not a PNG")):
        with pytest.raises(ImageError, match=rf"train-00000-of-00002\.parquet row group 0 row {row}: .*{reason}"):
            dataset.reader.read("disease_classification/train-00000-of-00002.parquet", 0, row)


def test_the_audit_of_shards(tmp_path):
    write_shards(tmp_path, unlabelled=0)
    path = tmp_path / "disease_classification" / "train-00000-of-00002.parquet"
    table = pq.read_table(path)
    images = table.column("Image").to_pylist()
    images[7] = images[1]  # patient 58's and patient 57's
    pq.write_table(table.set_column(0, "Image", pa.array(images, table.schema.field("Image").type)), path, row_group_size=7)
    dataset = _load(tmp_path, source="parquet", audit=True)
    assert any(
        "of 84 images 1 are byte-identical copies" in n and "12 patients were merged to 11" in n for n in dataset.info.notes
    )
    assert _row(dataset, "train-00000-of-00002/00007")["group"] == "57"


def test_cards():
    infos = dataset_infos("olives")
    assert len({info.name for info in infos}) == 9
    assert all(info.split_unit == "patient" for info in infos)


TRAIN = ["train", "data=olives", "trainer.epochs=1", "trainer.trackers=[]", "trainer.batch_size=16", "evaluation.replicates=10"]
FLAT = ["model.backbone=test_resnet", "model.preprocess.size=32"]
DEEP = ["model=cnn3d", "model.backbone=resnet18_3d", "+model.arguments.width=0.125", "model.preprocess.size=[8,32,32]"]


@pytest.mark.parametrize(
    "options",
    [
        [*FLAT, "data.target=biomarkers"],
        [*FLAT, "data.target=disease", "data.seed=1"],
        [*FLAT, "data.target=clinical"],
        [*DEEP, "data.images=volume"],
        [*FLAT, "data.images=fundus"],
    ],
    ids=lambda options: options[-1],
)
def test_training_on_the_folders(options, tree, tmp_path):
    assert main([*TRAIN, *options, f"data.root={tree}", f"run={tmp_path / 'run'}"]) == 0


def test_training_on_the_shards(tmp_path):
    write_shards(tmp_path / "shards", unlabelled=0)
    options = ["data.source=parquet", "data.target=disease", "data.disease_names={0:DR,1:DME}", "data.seed=1"]
    assert main([*TRAIN, *FLAT, *options, f"data.root={tmp_path / 'shards'}", f"run={tmp_path / 'run'}"]) == 0
