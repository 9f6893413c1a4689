"""SCIN on generated files: targets, splits, answers, captions, paths and every trap, with hand-worked expectations."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from medzoo.cli import main
from medzoo.data import dataset_infos, load_dataset
from medzoo.data.dataset import concept_matrix, input_columns, target_matrix
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.samples.preprocess import Preprocess
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.data.splits.groups import shared_groups
from tests.data.datasets.scin_files import NORMAL, SUFFICIENT, case, eleven, grey, many, write_bucket, write_images, write_tables

NAN = float("nan")
THIRD = 1 / 3
LABELLED = ["-1001", "1003", "-1004", "1005", "1006", "-1008", "1009", "1010", "1011"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    return write_bucket(tmp_path_factory.mktemp("scin"), eleven())


def _load(root, **options):
    return load_dataset("scin", root=root, **{"top": 3, "views": "case", **options})


def _by_case(dataset):
    return dataset.table.set_index("case_id")


def _expect(message, root, error=DatasetError, **options):
    with pytest.raises(error, match=message):
        _load(root, **options)


# Weight by condition: Eczema .41 + 1 + .5 + .33 + .33, Tinea .33 + .67 + 1, Impetigo .54 + 1, Psoriasis .33 + 1; then less.
SOFT_OTHER = [
    [0.41, 0, 0, 0.59], [1, 0, 0, 0], [0, 0, 55 / 101, 46 / 101], [0.5, 0, 0, 0.5], [THIRD, THIRD, 0, THIRD],
    [0.33, 0.67, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1],
]  # fmt: skip
SOFT_MASK = [[1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0.5, 0.5, 0], [0.33, 0.67, 0], [0, 1, 0], [0, 0, 1], [NAN] * 3]
MULTI_OTHER = [
    [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1],
]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "rest", "expected", "note"),
    [
        ("soft", "other", SOFT_OTHER, "1 cases have no other) is collected in 'other'"),
        ("soft", "mask", SOFT_MASK, "1 cases are left with no condition and have no target"),
        ("multilabel", "other", MULTI_OTHER, "classes are the 3 commonest of 9 conditions"),
        ("multilabel", "mask", [row[:3] for row in MULTI_OTHER], "1 cases are left with no condition and are 0 for every class"),
    ],
)
def test_targets_over_the_commonest_conditions(bucket, labels, rest, expected, note):
    dataset = _load(bucket, labels=labels, rest=rest)
    assert dataset.labels.names == ("Eczema", "Tinea", "Impetigo", "other")[: len(expected[0])]
    assert dataset.labels.kind == ("multilabel" if labels == "multilabel" else "multiclass")
    assert dataset.table["case_id"].tolist() == LABELLED
    np.testing.assert_allclose(target_matrix(dataset.table, dataset.labels), np.array(expected, np.float32), atol=1e-6)
    assert any(note in n for n in dataset.info.notes)


@pytest.mark.parametrize(("rest", "outside"), [("other", 3.0), ("mask", NAN)])
def test_top1_takes_the_condition_written_first_of_those_that_tie(bucket, rest, outside):
    dataset = _load(bucket, labels="top1", rest=rest)
    expected = [outside, 0, 2, outside, outside, 1, 1, 2, outside]  # 1001, 1005 and 1006 tie: Inflicted, Acute, Psoriasis
    assert dataset.table["target"].tolist() == pytest.approx(expected, nan_ok=True)
    assert "of the 3 tied cases the condition written first is the target" in dataset.info.notes
    masked = "4 cases whose first condition is outside the 3 have no target" in dataset.info.notes
    assert masked is (rest == "mask")


def test_ties_and_sums_are_counted(bucket):
    notes = _load(bucket).info.notes
    # 1004 sums to 1.01, 1006 to 0.99, 1010 to 0.97.
    assert any(n.startswith("3 of 9 differentials do not sum to 1 as written (two decimals), 1 of them by more") for n in notes)
    assert "3 of 9 differentials tie at their largest weight" in notes


def test_all_conditions_leave_no_other_class(bucket):
    dataset = _load(bucket, top=9)
    assert dataset.labels.names == (
        "Eczema", "Tinea", "Impetigo", "Psoriasis", "Acute dermatitis, NOS", "Inflicted skin lesions", "Bullous dermatitis",
        "Herpes Zoster", "Irritant Contact Dermatitis",
    )  # fmt: skip
    row = _by_case(dataset).loc["-1001"]
    assert row["target.Irritant Contact Dermatitis"] == pytest.approx(0.18)
    assert row["target.Eczema"] == row["target.Inflicted skin lesions"] == pytest.approx(0.41)


def test_cases_without_a_differential_are_dropped_or_kept_without_a_target(bucket):
    dropped, kept = (_load(bucket, ungradable=choice) for choice in ("drop", "keep"))
    assert set(kept.table["case_id"]) - set(dropped.table["case_id"]) == {"1002", "1007"}
    targets = target_matrix(kept.table, kept.labels)
    assert np.isnan(targets).any(axis=1).tolist() == [c in ("1002", "1007") for c in kept.table["case_id"]]
    assert np.isnan(targets[1]).all()
    assert np.isnan(_by_case(_load(bucket, ungradable="keep", labels="top1")).loc["1007", "target"])
    assert np.isnan(target_matrix(_load(bucket, ungradable="keep", labels="multilabel").table, kept.labels)[1]).all()
    for dataset, fate in ((dropped, "left out"), (kept, "kept without a target")):
        expected = f"2 of 11 cases have no differential diagnosis and are {fate}: 1 of insufficient image quality by all who"
        assert any(n.startswith(expected) and n.endswith("1 without discernible pathology by one or more, 0 others")
                   for n in dataset.info.notes)  # fmt: skip
    # What is left out moves nothing else.
    shared = kept.table[kept.table["case_id"].isin(dropped.table["case_id"])]
    assert shared["split"].tolist() == dropped.table["split"].tolist()


def test_cases_that_share_a_photograph_are_one_group(bucket):
    groups = _by_case(_load(bucket, ungradable="keep"))["group"]
    assert groups["1002"] == groups["1003"] == "1002"
    assert groups["-1008"] == groups["1009"] == groups["1010"] == "-1008"  # a chain
    assert groups["-1001"] == "-1001"
    assert groups.nunique() == 11 - 3
    notes = _load(bucket).info.notes
    assert any(n.startswith("3 photographs belong to several cases: 5 of all cases are joined into 2 groups") for n in notes)
    # The tie holds although the case it goes through is left out.
    assert _by_case(_load(bucket)).loc["1003", "group"] == "1002"


def test_the_split_is_by_group_and_by_seed(tmp_path):
    write_tables(tmp_path, many(400) + eleven())
    splits = []
    for seed in range(4):
        table = _load(tmp_path, seed=seed, missing="ignore", views="image").table
        assert not shared_groups(table)
        assert table.groupby("case_id")["split"].nunique().max() == 1
        splits.append(table.drop_duplicates("group").set_index("group")["split"])
        shares = splits[-1].value_counts(normalize=True)
        assert shares["val"] == pytest.approx(0.1, abs=0.05)
        assert shares["test"] == pytest.approx(0.2, abs=0.06)
    assert not any(splits[0].equals(other) for other in splits[1:])
    again = _load(tmp_path, missing="ignore", views="image").table
    assert again.drop_duplicates("group").set_index("group")["split"].equals(splits[0])


def test_one_row_a_photograph(bucket):
    dataset = _load(bucket, views="image")
    assert len(dataset) == 14  # 1 + 3 + 2 + 1 + 1 + 1 + 2 + 2 + 1
    rows = dataset.table[dataset.table["case_id"] == "1003"]
    assert rows["sample_id"].tolist() == ["scin/1003/image_1", "scin/1003/image_2", "scin/1003/image_3"]
    assert rows["path"].tolist() == [f"dataset/images/{n}.png" for n in ("31", "-55", "33")]
    assert rows["shot_type"].tolist() == ["close-up", "at an angle", "at a distance"]
    assert (rows["target.Eczema"] == 1).all()
    assert dataset.subgroups[-1] == "shot_type"
    assert dataset.reader.columns == ("path",)
    assert not dataset.reader.views
    assert not [c for c in dataset.table if c.startswith(("path_", "shot_")) and c != "shot_type"]
    pixels = dataset.reader.read(rows["path"].iloc[1])
    assert pixels.shape == (3, 24, 20)
    assert (pixels == grey("-55")).all()


def test_one_row_a_case(bucket):
    dataset = _load(bucket)
    assert dataset.reader.columns == ("path_1", "path_2", "path_3")
    assert dataset.reader.views
    rows = _by_case(dataset)
    assert rows.loc["1003", "sample_id"] == "scin/1003"
    assert rows.loc["1003", "path_3"] == "dataset/images/33.png"
    assert rows.loc["-1004", ["path_1", "path_2", "path_3"]].isna().tolist() == [False, False, True]
    assert "shot_type" not in dataset.subgroups
    assert not [c for c in dataset.table if c.startswith("shot")]


def test_a_case_is_one_sample_of_up_to_three_views(bucket):
    dataset = _load(bucket)
    split = _by_case(dataset).loc["-1004", "split"]
    samples = SampleDataset(dataset, split, Preprocess(size=(16, 16), mean=(0.5,) * 3, std=(0.5,) * 3))
    sample = samples[samples.sample_ids.tolist().index("scin/-1004")]
    assert sample["view_mask"].tolist() == [True, True, False]
    assert sample["image"].amax(dim=(1, 2, 3)).tolist() == [grey("41"), grey("42"), 0]


def test_subgroups(bucket):
    rows = _by_case(_load(bucket, ungradable="keep"))
    assert rows.loc["1003", "fitzpatrick"] == "FST3"  # the median of 2 and 3
    assert rows.loc["-1004", "fitzpatrick"] == "FST5"  # of 4, 6 and 5
    assert rows.loc["-1004", ["monk_india", "monk_us", "age_group", "sex", "race"]].tolist() == [
        "9", "10", "80 or above", "female", "black or african american",
    ]  # fmt: skip
    assert rows.loc["1003", "race"] == "hispanic latino or spanish origin, white"
    assert rows.loc["1002", ["fitzpatrick", "monk_india", "monk_us", "age_group", "sex", "race"]].isna().all()
    assert pd.isna(rows.loc["1005", "race"])  # preferred not to answer
    assert rows.loc["1006", "race"] == "two or more after mitigation"


def test_missing_answers_are_counted(bucket):
    notes = _load(bucket, ungradable="keep").info.notes
    assert any(n.startswith("of 11 cases these have no fitzpatrick 1, monk_us 1, monk_india 1, age_group 9, sex 9, race 8 ")
               for n in notes)  # fmt: skip
    # Textures: 1001 and 1004; body parts: those and 1008; symptoms: 1001 and 1005; other symptoms: 1001 and 1004.
    assert any(n.endswith("texture 9, body part 8, symptom 9, other symptom 9") for n in notes)


def test_boxes_are_concepts_and_missing_only_where_their_question_is_unanswered(bucket):
    dataset = _load(bucket, ungradable="keep")
    groups = dataset.concepts.groups
    assert {group: len(names) for group, names in groups.items()} == {
        "texture": 4, "body part": 12, "symptom": 7, "other symptom": 6,
    }  # fmt: skip
    matrix = pd.DataFrame(concept_matrix(dataset.table, dataset.concepts), dataset.table["case_id"], list(dataset.concepts.names))
    first = matrix.loc["-1001"]
    assert first[list(groups["symptom"])].tolist() == [0, 1, 0, 0, 1, 0, 0]
    assert first[list(groups["other symptom"])].tolist() == [0] * 6  # none of the above
    assert first[first == 1].index.tolist() == ["raised or bumpy", "top or side of the foot", "bleeding", "itching"]
    assert (matrix.loc["1005", list(groups["symptom"])] == 0).all()
    assert matrix.loc["1005", list(groups["texture"])].isna().all()
    assert matrix.loc["1002"].isna().all()


def test_answers_are_tabular_inputs_unscaled(bucket):
    dataset = _load(bucket)
    names = input_columns(dataset.table)
    assert names[:4] == ["input.age", "input.sex", "input.fitzpatrick", "input.duration"]
    assert len(names) == 4 + 29
    assert (dataset.table[names].dtypes == np.float32).all()
    rows = _by_case(dataset)
    assert rows.loc["-1004", names[:4]].tolist() == [6, 0, 6, 7]
    assert rows.loc["1003", names[:2]].tolist() == [0, 1]
    assert rows.loc["1005", names[:4]].isna().all()  # unknown, unspecified, none identified, unknown
    assert rows.loc["-1001", ["input.duration", "input.textures_flat", "input.textures_raised_or_bumpy"]].tolist() == [0, 0, 1]
    assert not any("label" in name or "dermatologist" in name for name in names)


def test_answers_that_are_asked_for_are_inputs_by_their_words(bucket):
    dataset = _load(bucket, inputs=["fitzpatrick", "age", "duration", "sex", "other_symptoms", "textures_flat"])
    others = [f"other_symptoms_{name}" for name in OTHERS]
    assert dataset.inputs.names == ("fitzpatrick", "age", "duration", "sex", *others, "textures_flat")
    categories = dataset.inputs.categories
    assert sorted(categories) == ["age", "duration", "fitzpatrick", "sex"]  # boxes are 0 and 1
    told = _by_case(dataset).loc["-1004"]
    words = {name: words[int(told[f"input.{name}"])] for name, words in categories.items()}
    assert words == {"age": "80 or above", "sex": "female", "fitzpatrick": "FST6", "duration": "since childhood"}
    assert told[[f"input.{name}" for name in others]].tolist() == [1, 0, 0, 0, 0, 0]
    unsaid = _by_case(dataset).loc["1005", [f"input.{name}" for name in dataset.inputs.names]]
    assert unsaid.isna().all()
    plain = _load(bucket).table
    boxes = [f"input.{name}" for name in (*others, "textures_flat")]
    pd.testing.assert_frame_equal(dataset.table[boxes], plain[boxes])


OTHERS = ("fever", "chills", "fatigue", "joint_pain", "mouth_sores", "shortness_of_breath")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["age_grup"], "unknown choice of data.inputs 'age_grup'"),
        (["texture"], "did you mean 'textures'"),
        (["weighted_skin_condition_label"], "unknown choice of data.inputs"),
        (["textures_flat", "textures"], "names 'textures_flat' twice, alone and with its question; leave one out"),
    ],
)
def test_answers_that_nobody_gave_are_one_line(bucket, given, message):
    _expect(message, bucket, error=ConfigError, inputs=given)


def test_captions(bucket):
    assert "caption" not in _load(bucket).table
    said = _load(bucket, caption="metadata", views="image").table.drop_duplicates("case_id").set_index("case_id")["caption"]
    assert said["-1001"] == (
        "A photograph of a skin condition on the top or side of the foot, which feels raised or bumpy, with bleeding and "
        "itching, present for one day."
    )
    assert said["-1004"] == (
        "A photograph of a skin condition on the arm and another part of the body, which feels flat and fluid-filled, with "
        "fever, present since childhood."
    )
    assert said[["1003", "1005", "1006"]].isna().all()  # nothing was answered
    for condition in ("Eczema", "Tinea", "Impetigo", "Psoriasis", "Inflicted", "Zoster"):
        assert not said.dropna().str.contains(condition, case=False).any()
    told = _load(bucket, caption="diagnosis", ungradable="keep")
    captions = _by_case(told)["caption"]
    assert captions["-1008"] == "Photographs of a skin condition diagnosed as Tinea on the leg, present for less than one week."
    assert captions["1006"] == "Photographs of a skin condition diagnosed as Eczema or Tinea or Psoriasis."
    assert captions[["1002", "1007"]].isna().all()
    assert "2 of 11 cases have nothing to make a caption of, and none" in told.info.notes


def test_the_root_may_be_the_bucket_or_its_folder(bucket, tmp_path):
    inner = _load(bucket / "dataset", views="image")
    assert inner.table["path"].iloc[0] == "images/-11.png"
    assert (inner.reader.read(inner.table["path"].iloc[0]) == grey("-11")).all()
    outer = _load(bucket, views="image")
    assert outer.table["path"].iloc[0] == "dataset/images/-11.png"
    assert outer.table["sample_id"].tolist() == inner.table["sample_id"].tolist()
    assert outer.table["split"].tolist() == inner.table["split"].tolist()
    # Tables in the root beside dataset/images.
    write_tables(tmp_path, eleven())
    shutil.copytree(bucket / "dataset" / "images", tmp_path / "dataset" / "images")
    mixed = _load(tmp_path, views="image")
    assert mixed.table["path"].iloc[0] == "dataset/images/-11.png"
    assert mixed.reader.read(mixed.table["path"].iloc[0]).shape == (3, 24, 20)
    _expect(r"no scin_cases\.csv in .*nowhere.dataset or .*nowhere; set data\.root", tmp_path / "nowhere")


def test_missing_photographs(tmp_path):
    write_bucket(tmp_path, eleven(), without={"-55", "111", "-71"})
    _expect(r"2 image files are not there \(dataset/images/-55\.png, dataset/images/111\.png\); .*data\.missing=skip", tmp_path)
    _expect("3 image files", tmp_path, ungradable="keep")
    by_case = _load(tmp_path, missing="skip")
    assert by_case.table["case_id"].tolist() == LABELLED[:-1]  # 1011 had one
    assert _by_case(by_case).loc["1003", ["path_1", "path_2", "path_3"]].isna().tolist() == [False, True, False]
    assert any("2 image files are missing" in n and "1 of 9 samples left out" in n for n in by_case.info.notes)
    by_image = _load(tmp_path, missing="skip", views="image")
    assert len(by_image) == 14 - 2
    # Classes and splits are those of the whole release.
    assert by_image.labels == _load(tmp_path, missing="ignore").labels
    everything = _by_case(_load(tmp_path, missing="ignore"))
    assert len(everything) == 9
    assert everything.loc[by_case.table["case_id"], "split"].tolist() == by_case.table["split"].tolist()


def test_a_case_without_photographs_is_left_out_and_counted(tmp_path):
    write_tables(tmp_path, [*eleven(), case("1012", {"Tinea": 1.0}, [])])
    for views in ("image", "case"):
        dataset = _load(tmp_path, views=views, missing="ignore")
        assert "1012" not in set(dataset.table["case_id"])
        assert "1 of 10 cases name no photograph: left out" in dataset.info.notes
    write_tables(tmp_path, [case("1", {"Tinea": 0.5, "Acne": 0.5}, [])])
    _expect("none of the 1 cases names a photograph", tmp_path, top=2)


@pytest.mark.parametrize("path", ["../secret.png", "dataset/images/../../../x.png", "/etc/x.png", "C:/x.png"])
def test_paths_that_leave_the_root_are_refused(tmp_path, path):
    cases = eleven()
    cases[3][0]["image_2_path"] = path
    write_tables(tmp_path, cases)
    _expect(r"scin_cases\.csv line 5: 'image_2_path' is '.*', which leaves the dataset's folder", tmp_path, missing="ignore")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'Eczema': 1.0", "not a Python literal"),
        ("{'Eczema': __import__('os').getpid()}", "not a Python literal"),
        ("['Eczema']", "not a dict"),
        ("{'Eczema': 0.5, 'Eczema': 0.5}", "names a condition twice"),
        ("{'Eczema': -0.5}", "the weight -0.5, not a positive number"),
        ("{'Eczema': 'much'}", "the weight 'much'"),
        ("{'Eczema': 1e999}", "the weight inf"),
        ("{' ': 1.0}", "not a name"),
        ("{3: 1.0}", "not a name"),
    ],
)
def test_differentials_that_cannot_be_read_are_named_by_line(tmp_path, text, message):
    cases = eleven()
    cases[-1][1]["weighted_skin_condition_label"] = text  # the labels are written in reverse: line 2
    write_tables(tmp_path, cases)
    _expect(rf"scin: scin_labels\.csv line 2: 'weighted_skin_condition_label' is .*{message}", tmp_path, missing="ignore")


def test_an_empty_differential_cell_is_a_case_without_one(tmp_path):
    cases = eleven()
    cases[0][1]["weighted_skin_condition_label"] = ""
    write_tables(tmp_path, cases)
    assert _load(tmp_path, missing="ignore").table["case_id"].tolist() == LABELLED[1:]
    for _, label in cases:
        label["weighted_skin_condition_label"] = "{}"
    write_tables(tmp_path, cases)
    _expect("no case of scin_labels.csv has a differential", tmp_path, missing="ignore")


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        (0, "age_group", "AGE_0_TO_17", r"scin_cases\.csv line 4: 'age_group' is 'AGE_0_TO_17', not one of AGE_18_TO_29"),
        (0, "sex_at_birth", "F", "'sex_at_birth' is 'F', not one of FEMALE, MALE, OTHER_OR_UNSPECIFIED, nothing"),
        (0, "fitzpatrick_skin_type", "FST7", "'fitzpatrick_skin_type' is 'FST7'"),
        (0, "condition_duration", "LONG", "'condition_duration' is 'LONG'"),
        (0, "textures_flat", "NO", "'textures_flat' is 'NO', not one of YES, nothing"),
        (0, "image_1_shot_type", "ABOVE", "'image_1_shot_type' is 'ABOVE'"),
        (1, "dermatologist_gradable_for_skin_condition_1", "YES", r"scin_labels\.csv line 10: 'dermatologist_gradable"),
        (1, "dermatologist_fitzpatrick_skin_type_label_1", "3", "skin_type_label_1' is '3'"),
        (1, "dermatologist_gradable_for_fitzpatrick_skin_type_2", "TRUE", "skin_type_2' is 'TRUE', not one of nothing, YES, NO"),
        (
            1,
            "monk_skin_tone_label_us",
            "11",
            "'monk_skin_tone_label_us' is '11', not 1 to 10; download it again from gs://dx-scin-public-data",
        ),
        (1, "monk_skin_tone_label_us", "2.5", "is '2.5', not 1 to 10"),
        (0, "case_id", "", r"scin_cases\.csv line 4: 'case_id' is empty"),
        (0, "case_id", "1005", r"scin_cases\.csv: case '1005' stands on lines 4 and 6"),
        (0, "case_id", "77", r"scin_cases\.csv line 4: 'case_id' is '77', which is not in scin_labels\.csv"),
        (1, "case_id", "77", "take both files from one release"),
    ],
)
def test_what_the_authors_do_not_list_is_refused_with_its_line(tmp_path, table, column, value, message):
    cases = eleven()
    cases[2][table][column] = value
    write_tables(tmp_path, cases)
    _expect(message, tmp_path, missing="ignore")


def test_files_of_other_editors_are_read_alike(tmp_path):
    plain = _load(write_tables(tmp_path / "plain", eleven()), missing="ignore").table
    for name, options in {
        "bom": {"encoding": "utf-8-sig"},
        "windows": {"newline": "\r\n"},
        "commas": {"trailing": ","},
    }.items():
        other = _load(write_tables(tmp_path / name, eleven(), **options), missing="ignore").table
        pd.testing.assert_frame_equal(other, plain)
    spaced = write_tables(tmp_path / "spaced", eleven()) / "scin_cases.csv"
    spaced.write_text(spaced.read_text().replace("\n", "\n\n"))
    pd.testing.assert_frame_equal(_load(spaced.parent, missing="ignore").table, plain)
    decimals = eleven()
    decimals[3][1]["monk_skin_tone_label_us"] = "10.0"  # as pandas writes it back
    pd.testing.assert_frame_equal(_load(write_tables(tmp_path / "decimals", decimals), missing="ignore").table, plain)


def test_damaged_files_are_refused(tmp_path):
    folder = write_tables(tmp_path, eleven())
    labels = folder / "scin_labels.csv"
    whole = labels.read_text()
    labels.write_text(whole.replace("weighted_skin_condition_label", "weighted_skin_condition_labels", 1))
    _expect("no column 'weighted_skin_condition_label'; the nearest is 'weighted_skin_condition_labels'", tmp_path)
    labels.write_text("")
    _expect(r"scin_labels\.csv is empty; download it again", tmp_path)
    labels.write_text(whole.splitlines()[0] + "\n")
    _expect(r"scin_labels\.csv has no rows; download it again", tmp_path)
    labels.write_bytes(b"case_id\xff\xfe\n1\n")
    _expect(r"scin_labels\.csv cannot be read \(line 1 is not UTF-8 text", tmp_path)
    labels.unlink()
    _expect(r"scin_labels\.csv is not there; download it again from gs://dx-scin-public-data/dataset", tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"caption": None}, UnknownNameError, "did you mean 'none'"),
        ({"top": 0}, ConfigError, "top=0 is not a whole number from 1 to 9"),
        ({"top": 10}, ConfigError, "top=10 is not"),
        ({"top": True}, ConfigError, "top=True is not"),
        ({"seed": 0.5}, ConfigError, r"seed=0\.5 is not a whole number"),
        ({"top": 1, "rest": "mask"}, DatasetError, "at least two classes"),
    ],
)
def test_options_that_cannot_be_meant(bucket, options, error, message):
    _expect(message, bucket, error, **options)


def test_cards(bucket):
    cards = {info.name: info for info in dataset_infos("scin")}
    assert list(cards) == ["scin/soft", "scin/top1", "scin/multilabel"]
    for card in cards.values():
        assert card.split_unit == "case"
        assert "SCIN Data Use License" in card.licence
        assert len(card.labels.names) == 17
        assert [file.name for file in card.files] == ["scin_cases.csv", "scin_labels.csv"]
    dataset = _load(bucket)
    assert dataset.info.labels == dataset.labels
    assert "not the files of release 1.0.0 (SHA-256 differs): scin_cases.csv, scin_labels.csv" in dataset.info.notes


def test_graders_who_disagree_are_counted_apart(tmp_path):
    # One saw normal skin, one could not tell; one saw a condition and yet nothing was named.
    odd = [case("1", {}, ["1"], grades=["NO_IMAGE_QUALITY_INSUFFICIENT", NORMAL]), case("2", {}, ["2"], grades=[SUFFICIENT])]
    write_tables(tmp_path, eleven() + odd)
    notes = _load(tmp_path, missing="ignore").info.notes
    assert any(
        "4 of 13 cases" in n and "1 of insufficient" in n and "2 without discernible" in n and "1 others" in n for n in notes
    )


@pytest.mark.parametrize(("labels", "views"), [("soft", "image"), ("top1", "image"), ("multilabel", "image"), ("soft", "case")])
def test_training_end_to_end(tmp_path, labels, views):
    root = tmp_path / "scin"
    cases = many(40)
    write_tables(root / "dataset", cases)
    write_images(root, cases, without={"-1001"})  # case 1 keeps its photograph -1000
    options = [f"data.root={root}", f"data.labels={labels}", f"data.views={views}", "data.top=3", "data.missing=skip"]
    options += ["model.backbone=test_resnet", "model.preprocess.size=32", "trainer.epochs=1", "trainer.trackers=[]"]
    assert main(["train", "data=scin", *options, "evaluation.replicates=10", f"run={tmp_path / 'run'}"]) == 0
    predictions = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert {"subgroup.fitzpatrick", "subgroup.sex", "subgroup.race"} <= set(predictions.columns)
    dataset = load_dataset("scin", root=root, labels=labels, views=views, top=3, missing="skip")
    assert len(dataset) == {"image": 14 + 13 * 2 + 13 * 3 - 1, "case": 40}[views]
    scored = dataset.table[dataset.table["split"].isin(predictions["split"].unique())]
    assert set(predictions["sample_id"]) == set(scored["sample_id"])
