"""Derm1M: tiny files with the format's traps, worked through by hand; no group in two splits, whatever is asked for."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medzoo.cli import main
from medzoo.data import dataset_infos, load_dataset
from medzoo.data.dataset import concept_matrix
from medzoo.data.datasets.derm1m.load import load
from medzoo.data.datasets.derm1m.rows import age_bands, ages
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.splits.groups import shared_groups
from tests.data.datasets.derm1m_files import (
    COLUMNS,
    FRAME,
    PRETRAIN,
    VALIDATION,
    many_rows,
    row,
    write_csv,
    write_derm1m,
    write_images,
)

NAN = float("nan")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The worked rows with their images."""
    return write_derm1m(tmp_path_factory.mktemp("derm1m"))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """12 videos and 30 images in pretrain, 2 videos and 6 images in validation; no image files."""
    return write_derm1m(tmp_path_factory.mktemp("many"), many_rows(12, 30), many_rows(2, 6, "v"), images=False)


def _id(filename, caption):
    return f"{filename}#{hashlib.sha256(caption.encode()).hexdigest()[:12]}"


def _named(dataset):
    """Return caption → class name or None, for the rows that have a caption of their own."""
    names = [None if np.isnan(code) else dataset.labels.names[int(code)] for code in dataset.table["target"]]
    return dict(zip(dataset.table["caption"].fillna("-"), names, strict=True))


def _notes(dataset):
    return " | ".join(dataset.info.notes)


def _expect(message, root, kind=DatasetError, **options):
    with pytest.raises(kind, match=message) as caught:
        load(**({"root": root, "missing": "ignore", "min_count": 1} | options))
    assert "\n" not in str(caught.value)


def test_the_card():
    (info,) = dataset_infos("derm1m")
    assert info.licence == "CC BY-NC 4.0"
    assert info.counts == {"test": 9806}


def test_rows_images_groups_and_ids(root):
    dataset = load(root=root, min_count=1, caption="full")
    table = dataset.table
    assert len(table) == 17  # 15 + 3, less one copy
    assert table["split"].tolist() == ["train"] * 14 + ["test"] * 3
    assert table["group"].tolist()[:6] == [
        *["video/nSw7XdNR0bg"] * 3, "video/-_Xd_NR0bg", "pubmed/PMC123_fig1.png", "pubmed/PMC123_fig2.png",
    ]  # fmt: skip
    assert table["sample_id"].tolist()[:2] == [
        _id(FRAME, 'Red plaques, "silvery"\nscale on the elbow'), _id(FRAME, "Psoriasis of the elbow"),
    ]  # fmt: skip
    assert table["sample_id"][7] == _id("public/img_1.jpg", "")
    assert table["path"].tolist()[10] == "IIYI/帖子_7.jpg"
    image = dataset.reader.read(table["path"][0])
    assert image.shape == (3, 36, 24)
    assert "repeat" in _notes(dataset)
    assert "1 of 18 rows repeat another one in every column and are left out" in dataset.info.notes
    assert "not the official release: 3 validation rows, officially 9806" in dataset.info.notes


def test_rows_of_one_image_and_caption_stay_apart(root):
    dataset = load(root=root, min_count=1)
    ids = dataset.table["sample_id"].tolist()[8:10]
    assert [i.rpartition("-")[0] for i in ids] == [_id("public/img_2.jpg", "Eczema")] * 2
    assert len(set(ids)) == 2
    assert "2 rows share image and caption with another but not all columns: each stays a sample" in dataset.info.notes


def test_levels_of_the_hierarchy(root):
    one = load(root=root, min_count=1)
    assert one.labels.kind == "multiclass"
    assert one.labels.names == ("inflammatory", "proliferations")
    codes = [0, 0, NAN, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
    np.testing.assert_array_equal(one.table["target"], codes)
    assert "1 of 17 rows have no diagnosis: no target" in one.info.notes
    assert any(
        "1 class names differ from another in case alone" in n and "'Inflammatory' as 'inflamm" in n for n in one.info.notes
    )

    three = load(root=root, min_count=3, labels="level3", caption="full")
    assert three.labels.names == ("atopic dermatitis", "nevus", "psoriasis")
    named = _named(three)
    assert named["Psoriasis of the elbow"] == "psoriasis"
    assert named["-"] == "psoriasis"
    assert named["手掌红斑"] == "atopic dermatitis"
    assert named["Stray"] == "nevus"  # of another parent, which is noted
    for without in ("The same patient a week later", "Dermatitis", "Odd", "Or this", "A disease that pretrain does not have"):
        assert named[without] is None, without
    assert "1 of 17 rows have a path that does not reach level3: no target" in three.info.notes
    assert "3 classes of fewer than 3 pretrain rows (such as 'lupus') are left out: 3 of 17 rows have no target for it" in (
        three.info.notes
    )
    two = load(root=root, min_count=3, labels="level2")
    assert two.labels.names == ("benign", "eczematous", "papulosquamous")
    _expect("labels=level4 has 1 classes of at least 1 pretrain rows and needs two; lower data.min_count", root, labels="level4")


def test_diseases_and_no_labels(root):
    dataset = load(root=root, min_count=3, labels="disease", caption="full")
    assert dataset.labels.names == ("atopic dermatitis", "nevus", "psoriasis")
    assert _named(dataset)["-"] == "psoriasis"  # written Psoriasis
    assert _named(dataset)["The same patient a week later"] is None
    assert "ontology" not in _notes(dataset)
    none = load(root=root, min_count=3, labels="none")
    assert none.labels is None
    assert "target" not in none.table
    assert "diagnosis" not in _notes(none)


def test_paths_are_held_against_the_ontology(root, tmp_path):
    notes = load(root=root, min_count=1).info.notes
    assert "3 names in the paths of 2 rows (such as 'lupus') are not in ontology.json" in notes
    assert (
        "the paths of 1 rows (such as 'proliferations, malignant, nevus') take a step that ontology.json does not have" in notes
    )
    write_derm1m(tmp_path, ontology=None, images=False)
    without = load(root=tmp_path, min_count=1, missing="ignore")
    assert "there is no ontology.json to hold the paths of hierarchical_disease_label against" in without.info.notes
    for text, message in (
        ('{"a": {"b": []}}', "ontology.json has under 'a' no list of names"),
        ('["a"]', "ontology.json is a JSON list"),
        ('{"a":', "ontology.json cannot be read"),
    ):
        (tmp_path / "ontology.json").write_text(text)
        _expect(message, tmp_path)


def test_concepts(root):
    dataset = load(root=root, min_count=1)
    assert dataset.concepts.names == ("erythema", "plaque", "scale", "ulcer")
    silent = [NAN] * 4
    expected = [
        [1, 1, 0, 0], [0, 1, 1, 0], silent, [0, 1, 0, 0], [1, 0, 0, 0], silent, silent, silent, [1, 0, 0, 0], [1, 0, 0, 0],
        silent, silent, silent, [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], silent,
    ]  # fmt: skip
    np.testing.assert_array_equal(concept_matrix(dataset.table, dataset.concepts), np.array(expected, dtype=np.float32))
    assert any(note.startswith("9 of 17 rows name concepts, and in these") for note in dataset.info.notes)
    fewer = load(root=root, min_count=3)
    assert fewer.concepts.names == ("erythema", "plaque")
    # A row that names rare concepts alone has none of the others.
    np.testing.assert_array_equal(concept_matrix(fewer.table, fewer.concepts)[13:15], np.zeros((2, 2)))
    assert "2 concepts named in fewer than 3 pretrain rows (such as 'scale') are left out" in fewer.info.notes


def test_without_any_concept_there_is_no_concept_space(tmp_path):
    rows = [row(f"public/{k}.jpg", f"c{k}", "public", "edu", (d, f"{d}, x")) for k, d in enumerate("abab")]
    dataset = load(root=write_derm1m(tmp_path, rows[:3], rows[3:], images=False), min_count=1, missing="ignore")
    assert dataset.concepts is None
    assert not [c for c in dataset.table if c.startswith("concept.")]
    assert dataset.subgroups == ("source_type", "gender", "age_band")


def test_the_concept_file_is_said_not_to_be_used(tmp_path):
    write_derm1m(tmp_path, images=False)
    (tmp_path / "concept.csv").write_text(f"filename,disease_label,anything,anything\n{FRAME},psoriasis,1,0\nx.jpg,,,\n")
    note = "concept.csv is not used, for its columns are not documented; it names 1 of 15 images"
    dataset = load(root=tmp_path, min_count=1, missing="ignore")
    assert note in dataset.info.notes
    assert dataset.concepts.names == ("erythema", "plaque", "scale", "ulcer")
    (tmp_path / "concept.csv").write_text("image,a\nx.jpg,1\n")
    notes = load(root=tmp_path, min_count=1, missing="ignore").info.notes
    assert "concept.csv is not used: derm1m: concept.csv: the table has no column 'filename'; it has image, a" in notes


def test_sentinels_and_nan_are_missing_and_plain_columns_are_kept(root):
    table = load(root=root, min_count=1).table
    for column in ("body_location", "symptoms", "age", "gender", "age_band"):
        assert table[column].isna()[[2, 5]].all(), column
    assert table["body_location"].tolist()[:2] == ["elbow", "Elbow"]
    assert table["symptoms"].notna().tolist() == [True] + [False] * 16
    assert table["source"].tolist()[4:8] == ["pubmed_english"] * 3 + ["public"]
    assert table["source_type"].tolist()[10:13] == ["forum"] * 3


def test_captions(root):
    truncated, full = (load(root=root, min_count=1, caption=kind) for kind in ("truncated", "full"))
    assert truncated.table["caption"][1] == "Psoriasis of the elb"
    assert full.table["caption"][0] == 'Red plaques, "silvery"\nscale on the elbow'
    assert truncated.table["sample_id"].tolist() == full.table["sample_id"].tolist()
    assert full.table["caption"].isna().tolist() == [k == 7 for k in range(17)]
    assert "1 of 17 rows have no full caption" in full.info.notes
    assert "caption" not in load(root=root, min_count=1, caption="none").table


def test_age_and_gender(root):
    dataset = load(root=root, min_count=1)
    expected = [45, 45, NAN, 0.5, NAN, NAN, NAN, NAN, NAN, 15, 3 * 7 / 365.25, 80, NAN, NAN, 17.5, NAN, NAN]
    np.testing.assert_allclose(dataset.table["age"], expected, rtol=1e-6)
    band = dataset.table["age_band"]
    assert [band[k] for k in (0, 3, 9, 10, 11, 14)] == ["40 to 59", *["0 to 17"] * 3, "80 and over", "0 to 17"]
    gender = dataset.table["gender"]
    words = {0: "male", 1: "male", 3: "female", 8: "female", 9: "female", 10: "female", 14: "male"}
    assert gender.dropna().to_dict() == words
    assert (
        "1 of 9 ages are not a number of years, months, weeks or days (such as '40s') and count as missing" in dataset.info.notes
    )
    assert "1 of 9 ages are over 120 years (such as '150') and count as missing" in dataset.info.notes
    assert "1 of 8 genders are neither female nor male in one word (such as 'unknown') and count as missing" in dataset.info.notes


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("45", 45), ("45.5", 45.5), ("45 years", 45), ("45 years old", 45), ("45-year-old", 45), ("45 y/o", 45), ("45yo", 45),
        ("45 YRS", 45), ("Age: 45", 45), ("aged 45 years", 45), ("1 year of age", 1), ("6 months", 0.5), ("18-month-old", 1.5),
        ("2 weeks", 14 / 365.25), ("10 days", 10 / 365.25), ("0", 0), ("120", 120), ("121", NAN), ("40-50", NAN),
        ("40s", NAN), ("adult", NAN), ("45m", NAN), ("1990", NAN), ("-5", NAN), ("45 male", NAN), ("four", NAN),
    ],
)  # fmt: skip
def test_ages_are_taken_where_plainly_said(text, years):
    found, notes = ages(pd.Series([text, None]))
    np.testing.assert_allclose(found, [years, NAN], rtol=1e-6)
    assert bool(notes) == np.isnan(years)


def test_bands_end_below_their_upper_age():
    bands = age_bands(pd.Series([0, 17.9, 18, 39, 40, 60, 79.9, 80, 120, NAN]))
    assert bands.tolist() == [
        "0 to 17", "0 to 17", "18 to 39", "18 to 39", "40 to 59", "60 to 79", "60 to 79", "80 and over", "80 and over", None,
    ]  # fmt: skip


def test_rows_in_another_order_are_the_same_samples(root, tmp_path):
    write_derm1m(tmp_path, PRETRAIN[::-1], VALIDATION[::-1], images=False)
    columns = ["sample_id", "split", "group", "target", "age", "gender", "path", "caption"]
    one, other = (
        load_dataset("derm1m", root=folder, min_count=1, missing="ignore").table[columns].sort_values("sample_id")
        for folder in (root, tmp_path)
    )
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_byte_order_mark_line_ends_and_column_order_do_not_matter(root, tmp_path):
    expected = load(root=root, min_count=1, missing="ignore")
    for name, options in {
        "bom": {"bom": True, "line_end": "\r\n"},
        "commas": {"bom": True, "tail": ","},
        "order": {"columns": (*COLUMNS[::-1], "another")},
    }.items():
        found = load(root=write_derm1m(tmp_path / name, images=False, **options), min_count=1, missing="ignore")
        pd.testing.assert_frame_equal(found.table, expected.table)
        assert found.info == expected.info
    blank = write_derm1m(tmp_path / "blank", images=False)
    for path in blank.glob("*.csv"):
        path.write_bytes(b"\n\n" + path.read_bytes().replace(b"\nreddit", b"\n\nreddit"))
    pd.testing.assert_frame_equal(load(root=blank, min_count=1, missing="ignore").table, expected.table)
    # Commas at the ends of the rows alone.
    for path in (write_derm1m(tmp_path / "rows", PRETRAIN[3:], images=False, tail=",")).glob("*.csv"):
        header, _, rest = path.read_bytes().partition(b",\n")
        path.write_bytes(header + b"\n" + rest)
    assert len(load(root=tmp_path / "rows", min_count=1, missing="ignore")) == 14


def test_the_validation_file_is_test_or_val(root):
    dataset = load_dataset("derm1m", root=root, min_count=1, val_fraction=0.2)
    counts = dataset.table.groupby("split")["group"].nunique().to_dict()
    assert counts == {"train": 9, "val": 2, "test": 3}
    assert set(dataset.rows("test")["path"]) == {cells["filename"] for cells in VALIDATION}
    other = load_dataset("derm1m", root=root, min_count=1, validation="val")
    assert other.table["split"].value_counts().to_dict() == {"train": 14, "val": 3}
    assert other.info.counts == {"val": 9806}
    # The same groups are carved out whatever the labels.
    disease = load_dataset("derm1m", root=root, min_count=1, val_fraction=0.2, labels="disease")
    assert disease.table["split"].tolist() == dataset.table["split"].tolist()


def test_shared_videos_and_images_are_refused_dropped_or_kept(tmp_path):
    shared = [
        row("youtube/nSw7XdNR0bg_frame_1_0.jpg", "Another frame", "youtube", "edu"),
        row("validation_data/-_Xd_NR0bg_frame_77_1.jpg", "In another folder", "youtube", "edu"),
        PRETRAIN[-1],
    ]
    write_derm1m(tmp_path, PRETRAIN, VALIDATION + shared, images=False)
    _expect(
        r"3 videos or images \(such as 'reddit/t3_abe\.jpg'\) stand in Derm1M_v2_pretrain\.csv and in Derm1M_v2_validation\.csv; "
        r"leave out their 5 pretrain rows with data\.overlap=drop_pretrain",
        tmp_path,
    )
    options = {"root": tmp_path, "min_count": 1, "missing": "ignore"}
    dropped = load_dataset("derm1m", overlap="drop_pretrain", **options)
    assert "5 pretrain rows of videos or images with validation rows are left out" in dropped.info.notes
    assert len(dropped) == 20 - 5
    assert dropped.table["split"].value_counts()["test"] == 6
    assert shared_groups(dropped.table) == {}
    assert "ulcer" not in dropped.concepts.names  # its one pretrain row is gone
    with pytest.raises(DatasetError, match="allow_shared_groups"):
        load_dataset("derm1m", overlap="keep", **options)
    kept = load_dataset("derm1m", overlap="keep", allow_shared_groups=True, **options)
    assert len(kept) == 20
    assert kept.table["path"].value_counts()["reddit/t3_abe.jpg"] == 2  # the same row in both files
    write_derm1m(tmp_path, PRETRAIN[:3], VALIDATION + shared[:1], images=False)
    _expect("every row of Derm1M_v2_pretrain.csv is of a video or image with validation", tmp_path, overlap="drop_pretrain")


def test_sources(root, tmp_path):
    dataset = load(root=root, min_count=1, sources=["public", "youtube"])
    assert set(dataset.table["source"]) == {"public", "youtube"}
    assert dataset.table["split"].value_counts().to_dict() == {"train": 7, "test": 3}
    assert "11 of 18 rows are of the chosen sources (public, youtube)" in dataset.info.notes
    assert len(load(root=root, min_count=1, sources="public", labels="none")) == 5
    _expect("unknown Derm1M source 'pubmed'; did you mean 'pubmed_english'", root, UnknownNameError, sources=["pubmed"])
    _expect(r"no row of Derm1M_v2_pretrain\.csv is of data\.sources=\[\]", root, sources=[])
    write_derm1m(tmp_path, PRETRAIN[:4], VALIDATION, images=False)
    _expect(r"no row of Derm1M_v2_pretrain\.csv is of data\.sources=public; choose more", tmp_path, sources=["public"])


def test_archives_may_have_lost_or_doubled_their_top_folder(tmp_path):
    write_derm1m(tmp_path, images=False)
    names = {cells["filename"] for cells in [*PRETRAIN, *VALIDATION]}
    lost = {name for name in names if name.startswith("youtube/")}
    doubled = {name for name in names if name.startswith("public/")}
    places = [n.partition("/")[2] if n in lost else f"public/{n}" if n in doubled else n for n in names]
    write_images(tmp_path, places)
    dataset = load(root=tmp_path, min_count=1)
    assert len(dataset) == 17
    assert dataset.table["path"][0] == "nSw7XdNR0bg_frame_35881_3.jpg"
    assert dataset.table["path"][8] == "public/public/img_2.jpg"
    assert dataset.table["path"][4] == "pubmed/PMC123_fig1.png"
    assert dataset.table["group"][0] == "video/nSw7XdNR0bg"
    assert dataset.table["sample_id"][1] == _id(FRAME, "Psoriasis of the elbow")
    for path in dataset.table["path"]:
        assert dataset.reader.read(path).shape == (3, 36, 24)


def test_a_file_that_could_be_two_images_is_refused(tmp_path):
    rows = [row(f"{folder}/1.jpg", folder, "public", "edu", (d, f"{d}, x")) for folder, d in (("note", "a"), ("edu", "b"))]
    write_derm1m(tmp_path, rows, VALIDATION, images=False)
    write_images(tmp_path, [cells["filename"] for cells in VALIDATION] + ["1.jpg"])
    _expect("file '1.jpg' could be 'edu/1.jpg' or 'note/1.jpg'; unpack each archive", tmp_path, missing="error")
    # A file that is another row's image is not taken for this one's.
    rows = [row(name, name, "public", "edu", (name[0], name[0])) for name in ("public/edu/1.jpg", "edu/1.jpg")]
    write_derm1m(tmp_path, rows, VALIDATION, images=False)
    write_images(tmp_path, ["edu/1.jpg"])
    _expect(r"1 image files are not there \(public/edu/1\.jpg\)", tmp_path, missing="error")


def test_missing_images(root, tmp_path):
    write_derm1m(tmp_path, images=False)
    write_images(tmp_path, [cells["filename"] for cells in [*PRETRAIN[3:], *VALIDATION]])
    _expect(
        r"2 image files are not there \(youtube/nSw7XdNR0bg_frame_35881_3\.jpg, .*data\.missing=skip", tmp_path, missing="error"
    )
    skipped = load(root=tmp_path, min_count=3, labels="disease", missing="skip")
    assert len(skipped) == 14
    assert any("3 of 17 samples left out" in note for note in skipped.info.notes)
    # Classes are counted before images are looked for.
    assert skipped.labels.names == load(root=root, min_count=3, labels="disease").labels.names
    assert len(load(root=tmp_path, min_count=1, missing="ignore")) == 17


def test_numbers_that_are_not_options(root):
    for count in (0, -1, 2.5, "many"):
        _expect(r"min_count=.* is not a whole number of at least 1", root, ConfigError, min_count=count)


def test_files_and_columns_that_are_not_there(tmp_path):
    _expect(r"no folder at .*nowhere; ask for access at https://huggingface\.co", tmp_path / "nowhere")
    _expect(r"Derm1M_v2_pretrain\.csv is not there; ask for access", tmp_path)
    write_derm1m(tmp_path, images=False)
    columns = ["disease" if c == "disease_label" else c for c in COLUMNS]
    write_csv(tmp_path / "Derm1M_v2_validation.csv", VALIDATION, columns=columns)
    _expect(r"Derm1M_v2_validation\.csv: the table has no column 'disease_label'; the nearest is '.*; download it", tmp_path)
    write_csv(tmp_path / "Derm1M_v2_validation.csv", VALIDATION, columns=(*COLUMNS, "age"))
    _expect(r"Derm1M_v2_validation\.csv has several columns 'age'", tmp_path)
    for content in (b"", b"\n\n"):
        (tmp_path / "Derm1M_v2_validation.csv").write_bytes(content)
        _expect(r"Derm1M_v2_validation\.csv is empty; download it again", tmp_path)
    (tmp_path / "Derm1M_v2_validation.csv").write_text(",".join(COLUMNS) + "\n")
    _expect(r"Derm1M_v2_validation\.csv has no rows; download it again", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda line: line.replace(b"Psoriasis of", b"Psoriasis, of", 1),
            r"line 4: has cells beyond the 12 columns of the header \('Male'\); is a comma not quoted\? it begins 'you",
        ),
        (lambda line: line[: line.rindex(b",")], "line 4: is cut short, with 11 cells of 12; it begins 'you"),
        (lambda line: line.replace(b"Elbow", b"Elb\xff"), r"cannot be read \(line 4 is not UTF-8 text"),
        (lambda line: line.replace(FRAME.encode(), b"../a.jpg"), r"line 4: 'filename' is '\.\./a\.jpg', which leaves the"),
        (lambda line: line.replace(FRAME.encode(), b"/etc/a.jpg"), r"line 4: 'filename' is '/etc/a\.jpg', which leaves"),
        (lambda line: line.replace(FRAME.encode(), b""), r"line 4: 'filename' is empty, 'caption' is 'Psoriasis of the elbow'"),
        (lambda line: line.replace(FRAME.encode(), b"NaN"), r"line 4: 'filename' is 'NaN', 'caption' is .*, so no image"),
    ],
)
def test_bad_rows_are_named_with_their_line(tmp_path, change, message):
    path = write_derm1m(tmp_path, images=False) / "Derm1M_v2_pretrain.csv"
    lines = path.read_bytes().split(b"\n")
    # The row before it takes two lines.
    assert lines[3].startswith(FRAME.encode())
    lines[3] = change(lines[3])
    path.write_bytes(b"\n".join(lines))
    _expect(r"Derm1M_v2_pretrain\.csv " + message, tmp_path)
    # Blank lines count as lines, not as rows.
    path.write_bytes(b"\n".join([lines[0], b"", *lines[1:]]))
    _expect(r"Derm1M_v2_pretrain\.csv " + message.replace("line 4", "line 5"), tmp_path)


def test_cells_beyond_the_header_are_refused(tmp_path):
    path = write_derm1m(tmp_path, images=False, tail=",") / "Derm1M_v2_pretrain.csv"
    path.write_bytes(path.read_bytes().replace(b"45-year-old,Male,", b"45-year-old,Male,x"))
    _expect(r"Derm1M_v2_pretrain\.csv line 4: has cells beyond the 12 columns of the header \('x'\)", tmp_path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    draw_seed=st.integers(0, 2**31),
    folds=st.none() | st.tuples(st.integers(2, 6), st.integers(0, 5)).filter(lambda pair: pair[1] < pair[0]),
    small=st.none() | st.floats(0.05, 1.0) | st.integers(1, 5),
    val_fraction=st.floats(0.01, 0.6),
    labels=st.sampled_from(["level1", "disease", "none"]),
)
def test_no_split_shares_a_video_or_an_image(many, seed, draw_seed, folds, small, val_fraction, labels):
    options = {} if folds is None else {"folds": folds[0], "fold": folds[1]}
    if isinstance(small, float):
        options["fraction"] = small
    elif small is not None and labels != "none":
        options["shots"] = small
    options |= {"split_seed": seed, "draw_seed": draw_seed, "val_fraction": val_fraction, "labels": labels}
    dataset = load_dataset("derm1m", root=many, min_count=1, missing="ignore", **options)
    assert shared_groups(dataset.table) == {}
    # Without the column `group`: what a file name starts with, up to its frame.
    units = dataset.table["path"].str.split("_frame_").str[0]
    assert dataset.table.groupby(units)["split"].nunique().max() == 1
    assert set(dataset.table["split"]) == {"train", "val", "test"}
    assert len(dataset.rows("test")) == 2 * 3 * 2 + 6


@pytest.mark.parametrize("labels", ["level1", "disease"])
def test_training_from_the_command_line(tmp_path, labels):
    folder = write_derm1m(tmp_path / "data", many_rows(4, 12), many_rows(2, 4, "v"))
    options = ["data=derm1m", f"data.root={folder}", f"data.labels={labels}", "data.min_count=1", "model.backbone=test_resnet"]
    options += ["model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]", "evaluation.replicates=10"]
    run = tmp_path / "run"
    assert main(["train", *options, f"run={run}"]) == 0
    assert (run / "metrics.json").is_file()
