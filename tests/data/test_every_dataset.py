"""The contract of a dataset, held against every built-in one on tiny files of its authors' form, with every choice it offers.

A new dataset joins by a line in `TREES` (what writes its files) and its lines in `CHOICES`.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

import medzoo.conf
from medzoo.data import registry
from medzoo.data.audit.audit import as_lines, audit
from medzoo.data.dataset import SPLITS, Dataset, concept_columns, concept_matrix, input_columns, target_columns, target_matrix
from medzoo.data.datasets.medmnist.sets import SETS
from medzoo.data.errors import MedzooError, UnknownNameError
from medzoo.data.images.modalities import presence
from medzoo.data.inputs import InputSpace
from medzoo.data.registry import dataset_infos, list_datasets, load_dataset
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.groups import shared_groups
from medzoo.settings.compose import compose_config
from tests.data.datasets.trees import TREES, Options

CONF = Path(next(iter(medzoo.conf.__path__))) / "data"
NAMED = {0: "DR", 1: "DME"}
CHOICES: dict[str, list[Options]] = {
    "chestxray14": [{}, {"labels": 8, "missing": "skip"}, {"missing": "ignore"}, {"inputs": ["age", "sex", "view"]},
                    {"targets": ["findings", "view", "age"]}],
    "derm1m": [
        {}, {"labels": "level2", "caption": "full", "missing": "skip"}, {"labels": "level3", "overlap": "drop_pretrain"},
        {"labels": "level4", "overlap": "keep"}, {"labels": "disease", "validation": "val"},
        {"labels": "none", "caption": "none", "missing": "ignore"}, {"texts": ["caption"]},
    ],
    "folder": [
        {}, {"split": "group"},
        {"names": ["nevus", "melanoma"], "ordinal": True, "group_pattern": r"^(\d+)_", "channels": 1},
    ],
    "medmnist": [{"set": flag} for flag in SETS],
    "olives": [
        *({"images": images, "target": target} for images in ("bscan", "volume", "fundus")
          for target in ("biomarkers", "disease", "clinical")),
        *({"source": "parquet", "target": target, "disease_names": NAMED} for target in ("biomarkers", "disease", "clinical")),
        {"audit": True, "missing": "skip"}, {"missing": "ignore"},
        {"modalities": ["fundus", "volume"], "inputs": ["cst", "bcva"], "audit": True},
        {"modalities": ["bscan", "fundus"], "target": "disease", "inputs": ["cst"], "missing": "skip"},
        {"modalities": ["volume", "fundus"], "target": "clinical", "missing": "ignore"},
        {"horizon": "next", "visit_inputs": ["now", "until", "since", "earlier"], "history": 1},
        {"images": "volume", "target": "clinical", "visits": "all", "horizon": "next"},
        {"targets": ["disease", "biomarkers", "clinical"]},
    ],
    "phantom": [
        *({"labels": kind} for kind in ("binary", "multiclass", "ordinal", "multilabel", "regression")),
        {"dims": 3, "channels": 3}, {"missing": 0.3, "confounder": 0.5}, {"rule": "xor", "inputs": ["flag"], "missing": 0.3},
        {"modalities": ["image", "second", "volume"], "inputs": ["flag", "value", "category"], "absent": 0.3},
        {"labels": "ordinal", "visits": True, "horizon": "12w", "tolerance": "4w", "visit_inputs": ["now"], "history": 2},
        {"targets": ["ordinal", "regression"], "missing": 0.3},
        {"rule": "xor", "texts": ["note"], "absent": 0.3},
    ],
    "scin": [
        *({"labels": kind, "views": views} for kind in ("soft", "top1", "multilabel") for views in ("image", "case")),
        {"rest": "mask", "ungradable": "keep", "caption": "metadata", "missing": "skip"},
        {"caption": "diagnosis", "missing": "ignore"},
        {"views": "case", "inputs": ["age", "sex", "fitzpatrick", "duration", "body_parts", "textures_flat"]},
        {"targets": ["diagnosis", "tone"], "ungradable": "keep"},
    ],
    "shards": [
        {"target": "label", "group": "patient", "caption": ".txt", "channels": 1, "concepts": ["mass"], "subgroups": ["sex"]},
        {"target": ".cls", "kind": "multiclass", "names": ["a", "b"], "missing": "skip"},
        {"target": ".cls", "kind": "ordinal", "missing": "ignore", "anew": True, "inputs": ["size"]},
        {"target": "findings", "kind": "multilabel", "separator": "[]", "names": ["mass", "nodule"], "caption": "patient"},
        {"target": "size", "kind": "regression"},
    ],
    "table": [
        {"caption": "report"}, {"target": "diagnosis", "group": "patient", "subgroups": ["sex"], "missing": "skip"},
        {"target": "diagnosis", "kind": "multiclass", "image": ["image", "second"], "inputs": ["size"], "missing": "ignore"},
        {"target": "grade", "kind": "ordinal", "concepts": ["mass", "nodule"], "channels": 1, "deep": True},
        {"target": ["mass", "nodule"], "group": "patient", "ungrouped": "alone"},
        {"target": "grade", "modalities": {"front": "image", "side": {"column": "second", "channels": 1}},
         "inputs": ["size", "sex"], "categories": ["sex"]},
        {"target": "size", "kind": "regression", "units": ["mm"]},
        {"target": "grade", "group": "patient", "time": "day", "horizon": "next", "visit_inputs": ["now"]},
        {"target": "grade", "channel_columns": ["image", "second"], "missing_channels": "zeros"},
        {"target": "sex", "bag": "exam", "max_members": 1},
        {"target": "findings", "kind": "multilabel", "separator": "|", "names": ["Mass", "Nodule"], "empty_words": ["none"]},
        {"targets": {"what": "diagnosis", "grade": {"target": "grade", "kind": "ordinal"}}},
    ],
}  # fmt: skip
"""Options beside those of the tree: together every choice that an option of words offers."""
WITH_GAPS = {
    "derm1m": {}, "phantom": {"missing": 0.3}, "scin": {"ungradable": "keep"},
    "shards": {"target": "label"}, "table": {"target": "diagnosis"},
}  # fmt: skip
"""Options with which some targets are missing."""
MISTAKES: list[tuple[str, Options, str]] = [
    ("chestxray14", {"labels": 15}, "neither 14 nor 8"),
    ("folder", {"modality": "fundos"}, "did you mean 'fundus'"),
    ("medmnist", {"set": "retinamist"}, "did you mean 'retinamnist'"),
    ("medmnist", {"size": 27}, "the nearest is 28"),
    ("table", {"modality": "x-ray", "target": "diagnosis"}, "did you mean 'xray'"),
]
"""Mistakes in options that are no choice of words; those follow from the signatures."""

EVERY = pytest.mark.parametrize("name", sorted(TREES))
EVERY_CHOICE = pytest.mark.parametrize(
    ("name", "choice"), [(name, place) for name in sorted(CHOICES) for place in range(len(CHOICES[name]))]
)


def _load(name: str) -> Any:
    return registry._module(name).load


def _words(name: str) -> dict[str, tuple[str, ...]]:
    """Return the options of a dataset that are one of several words, and the words."""
    hints = get_type_hints(_load(name))
    return {option: get_args(kind) for option, kind in hints.items() if get_origin(kind) is Literal}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Return what gives the options of a dataset's files, written when first asked for."""

    @cache
    def written(name: str) -> Options:
        return TREES[name](tmp_path_factory.mktemp(name))

    return written


@pytest.fixture(scope="module")
def loaded(options):
    """Return what loads a dataset with one of its choices, once."""

    @cache
    def load(name: str, choice: int) -> Dataset:
        return load_dataset(name, **{**options(name), **CHOICES[name][choice]})

    return load


def test_no_dataset_and_no_choice_is_left_out():
    assert set(TREES) == set(CHOICES) == set(list_datasets()) == {path.stem for path in CONF.glob("[!_]*.yaml")}
    for name in TREES:
        defaults = {option: p.default for option, p in inspect.signature(_load(name)).parameters.items()}
        for option, words in _words(name).items():
            taken = {given.get(option, defaults[option]) for given in CHOICES[name]}
            assert set(words) - taken == set(), (name, option)


@EVERY
def test_cards_say_what_other_rooms_need(name):
    infos = dataset_infos(name)
    assert len({info.name for info in infos}) == len(infos) >= 1
    for info in infos:
        assert info.name.split("/")[0] == name
        assert info.title
        assert info.licence
        assert info.split_unit
        assert info.modality in POLICIES
        assert info.value_type in ("uint8", "float32")
        assert set(info.counts) <= set(SPLITS)
        assert all(isinstance(count, int) and count > 0 for count in info.counts.values())
        assert all(re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|", file.checksum) for file in info.files)
        assert all(file.url == "" or file.url.startswith("https://") for file in info.files)
        for described in (info, info.labels, info.concepts):
            if described is not None:
                as_dict = described.to_dict()
                assert json.loads(json.dumps(as_dict)) == as_dict
        for space in (info.labels, info.concepts):
            assert space is None or type(space).from_dict(space.to_dict()) == space
        assert all(note and "\n" not in note for note in info.notes)


@EVERY
def test_yaml_and_signatures_agree(name, monkeypatch):
    for variable in [variable for variable in os.environ if variable.startswith("MEDZOO_")]:
        monkeypatch.delenv(variable)
    config = OmegaConf.to_container(compose_config("train", [f"data={name}"]).data, resolve=True)
    assert config.pop("name") == name
    common = {k: p for k, p in inspect.signature(load_dataset).parameters.items() if p.kind is p.KEYWORD_ONLY}
    expected = {**common, **inspect.signature(_load(name)).parameters}
    assert list(config) == list(expected)
    assert config == {k: p.default for k, p in expected.items() if p.default is not p.empty}
    # Each key has its line of explanation.
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith(("#", "name:", "defaults:")):
            assert lines[number - 1].startswith("# "), line


@EVERY_CHOICE
def test_the_table_keeps_its_contract(name, choice, loaded):
    dataset = loaded(name, choice)
    table, labels, concepts = dataset.table, dataset.labels, dataset.concepts
    assert table.index.tolist() == list(range(len(table)))
    for column in ("sample_id", "split", "group"):
        assert all(isinstance(value, str) and value for value in table[column]), column
    assert table["sample_id"].is_unique
    assert not table["sample_id"].str.fullmatch(r"\d+").any()  # never a row number
    assert "train" in set(table["split"]) <= set(SPLITS)
    assert {"val", "test"} & set(table["split"])
    assert set(dataset.subgroups) <= set(table.columns)
    if labels is None:
        assert not [column for column in table if column.startswith("target")]
    elif "target" in table:
        codes = table["target"].dropna()
        assert labels.exclusive
        assert pd.api.types.is_numeric_dtype(table["target"])
        assert ((codes >= 0) & (codes < labels.width) & (codes % 1 == 0)).all()
    else:
        assert {str(table[column].dtype) for column in target_columns(labels)} == {"float32"}
    if labels is not None:
        targets = target_matrix(table, labels)
        assert (targets.shape, targets.dtype) == ((len(table), labels.width), np.float32)
        assert (~np.isnan(targets)).any()
    assert dataset.info.labels == labels
    assert dataset.info.concepts == concepts or name == "table"
    if concepts is None:
        assert not [column for column in table if column.startswith("concept.")]
    else:
        assert {str(table[column].dtype) for column in concept_columns(concepts)} == {"float32"}
        known = concept_matrix(table, concepts)
        assert set(known[~np.isnan(known)]) <= {0, 1}
    for column in input_columns(table):
        assert table[column].dtype == np.float32
    assert (dataset.inputs is None) == (not input_columns(table))
    if dataset.inputs is not None:
        assert set(input_columns(table)) == {f"input.{one}" for one in dataset.inputs.names}
        assert InputSpace.from_dict(json.loads(json.dumps(dataset.inputs.to_dict()))) == dataset.inputs
    for reader in dataset.modalities.values():
        there = presence(table, reader)
        assert there.any()
        seen = [bool(reader.images(*values)) for values in zip(*(table[c] for c in reader.columns), strict=True)]
        assert seen == there.tolist()
    if "caption" in table:
        assert all(isinstance(caption, str) and caption.strip() for caption in table["caption"].dropna())


@pytest.mark.parametrize("name", sorted(WITH_GAPS))
def test_what_is_missing_is_nan_and_a_sample_still(name, options):
    dataset = load_dataset(name, **{**options(name), **WITH_GAPS[name]})
    gaps = np.isnan(target_matrix(dataset.table, dataset.labels)).all(axis=1)
    assert 0 < gaps.sum() < len(gaps)


@EVERY_CHOICE
def test_a_sample_is_an_image_of_the_kind_its_card_says(name, choice, loaded):
    dataset = loaded(name, choice)
    reader = pickle.loads(pickle.dumps(dataset.reader))  # as a loader's worker gets it
    values = list(dataset.table[list(reader.columns)].dropna(how="all" if reader.views else "any").iloc[-1])
    values = list(next(iter(reader.images(*values).values())))  # of several views or members the first
    image = reader.read(*values)
    assert image.ndim in (3, 4)
    assert image.shape[0] in ((1, 3) if reader.stack is None else (len(reader.columns),))
    assert str(image.dtype) == dataset.info.value_type
    assert image.dtype == np.uint8 or 0 <= image.min() <= image.max() <= 1
    assert reader.shape in (None, image.shape)
    np.testing.assert_array_equal(dataset.reader.read(*values), image)


@EVERY_CHOICE
def test_no_split_cuts_a_group_whatever_is_drawn(name, choice, options, loaded):
    assert shared_groups(loaded(name, choice).table) == {}
    given = {**options(name), **CHOICES[name][choice]}
    for drawn in ({"folds": 3, "fold": 1}, {"fraction": 0.7, "draw_seed": 2}, {"val_fraction": 0.3, "split_seed": 5}):
        assert shared_groups(load_dataset(name, **given, **drawn).table) == {}


@EVERY_CHOICE
def test_the_same_options_give_the_same_table(name, choice, loaded):
    dataset = loaded(name, choice)
    again = load_dataset(**json.loads(json.dumps(dataset.options, default=str)))  # as a run's files keep them
    pd.testing.assert_frame_equal(again.table, dataset.table)
    assert (again.info, again.labels, again.concepts) == (dataset.info, dataset.labels, dataset.concepts)
    assert again.subgroups == dataset.subgroups


@EVERY_CHOICE
def test_the_audit_runs_and_finds_every_image_readable(name, choice, loaded):
    dataset = loaded(name, choice)
    report = audit(dataset, images=12, deep=True, workers=2)
    assert json.loads(json.dumps(report)) == report
    assert report["images"]["checked"] == min(12, report["images"]["distinct"])
    assert report["images"]["unreadable"] == report["leakage"]["groups"] == 0
    lines = as_lines(report)
    assert lines[0].startswith(f"{dataset.info.name}: {dataset.info.title}")
    assert all("\n" not in line for line in lines)
    assert set(report["labels"]) == (set() if dataset.labels is None else set(dataset.table["split"]))


@EVERY
def test_a_mistyped_option_is_one_line_that_offers_the_nearest(name, options):
    known = inspect.signature(_load(name)).parameters
    for option in known:
        if f"{option}s" in known:  # target and targets
            continue
        with pytest.raises(
            UnknownNameError, match=rf"^unknown option '{option}s' of dataset '{name}'; did you mean .*'{option}'"
        ):
            load_dataset(name, **options(name), **{f"{option}s": None})


@EVERY
def test_a_mistyped_word_is_one_line_that_offers_the_nearest(name, options):
    given = options(name)
    for option, words in _words(name).items():
        for word in words:
            with pytest.raises(UnknownNameError, match=rf"'{word}x'; did you mean .*'{word}'") as caught:
                load_dataset(name, **{**given, **({"target": "diagnosis"} if name == "table" else {}), option: f"{word}x"})
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "wrong", "message"), MISTAKES)
def test_other_mistakes_are_one_line_that_offers_the_nearest(name, wrong, message, options):
    with pytest.raises(MedzooError, match=message) as caught:
        load_dataset(name, **{**options(name), **wrong})
    assert "\n" not in str(caught.value)
