"""Captions by hand for every kind of label; nothing missing is mentioned; held-out wording never comes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medzoo.data.dataset import ArrayReader, Dataset, UnknownColumnError
from medzoo.data.datasets.phantom.load import load as load_phantom
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.seeding import derived_seed
from medzoo.data.text.captions import CaptionWriter
from medzoo.data.text.prompts import Prompts, find_prompts, list_prompts, packaged_prompts

NAN = np.nan
CLASSES = {"a": ("apple", "red apple"), "b": ("pear",), "c": ("plum", "prune")}
PAIRS = {"m": (("mass", "lump"), ("no mass",)), "n": (("nodule",), ()), "o": (("opacity",), ("no opacity", "clear"))}
TEMPLATES = ("See {}.", "{} here")


def _dataset(kind, names, columns, units=None, concepts=None, **more):
    rows = len(next(iter(columns.values())))
    table = pd.DataFrame({
        "sample_id": [f"s{i}" for i in range(rows)], "split": (["train", "val", "test"] * rows)[:rows],
        "group": [f"g{i}" for i in range(rows)], "array_index": range(rows), **columns, **more,
    })  # fmt: skip
    labels = None if kind is None else LabelSpace(kind, names, units)
    space = None if concepts is None else ConceptSpace(concepts)
    info = DatasetInfo("tests", "Tests", "none", "", "", "", labels, space)
    return Dataset(info, table, ArrayReader(np.zeros((rows, 1, 2, 2), np.uint8)), labels, space)


def _prompts(**changes):
    return Prompts(**{"name": "p", "version": 1, "source": "tests", "templates": TEMPLATES, **changes})


def _multilabel(*rows):
    return _dataset("multilabel", ("m", "n", "o"), {f"target.{n}": [row[k] for row in rows] for k, n in enumerate("mno")})


def _all(writer, position):
    """Every caption: one for each draw below the count, and then the same again."""
    count = writer.count(position)
    captions = [writer.write(position, draw) for draw in range(count)]
    assert [writer.write(position, draw) for draw in range(count, 2 * count)] == captions
    assert len(set(captions)) == count
    return set(captions)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_a_class_gives_templates_by_synonyms(kind):
    writer = CaptionWriter(_dataset(kind, ("a", "b", "c"), {"target": [1.0, 0.0, NAN, 2.0]}), _prompts(classes=CLASSES))
    assert len(writer) == 4
    assert _all(writer, 0) == {"See pear.", "pear here"}
    assert _all(writer, 1) == {"See apple.", "See red apple.", "apple here", "red apple here"}
    assert writer.write(2, 7) == ""
    assert writer.count(2) == 0
    assert _all(writer, 3) == {"See plum.", "See prune.", "plum here", "prune here"}


def test_the_order_of_the_prompts_does_not_matter_but_the_labels_does():
    turned = dict(reversed(CLASSES.items()))
    dataset = _dataset("multiclass", ("b", "c", "a"), {"target": [0.0, 2.0]})
    assert _all(CaptionWriter(dataset, _prompts(classes=turned)), 0) == {"See pear.", "pear here"}
    assert "See apple." in _all(CaptionWriter(dataset, _prompts(classes=turned)), 1)


def test_soft_labels_take_the_largest_and_any_of_those_that_tie():
    rows = [(0.2, 0.5, 0.3), (0.4, 0.4, 0.2), (NAN, NAN, NAN)]
    dataset = _dataset("multiclass", ("a", "b", "c"), {f"target.{n}": [r[k] for r in rows] for k, n in enumerate("abc")})
    writer = CaptionWriter(dataset, _prompts(classes=CLASSES, templates=("{}",)))
    assert _all(writer, 0) == {"pear"}
    assert _all(writer, 1) == {"apple", "red apple", "pear"}
    assert writer.write(2, 0) == ""


def test_findings_present_are_joined_and_missing_ones_are_never_mentioned():
    rows = [(1, 0, 0), (1, 0, 1), (1, 1, 1), (NAN, 1, NAN), (0.5, 1, 0), (0, 0, 0), (0, NAN, 0), (NAN, 0, NAN), (NAN,) * 3]
    writer = CaptionWriter(_multilabel(*rows), _prompts(pairs=PAIRS, templates=("{}",), no_finding=("nothing", "all clear")))
    expected = [
        {"mass", "lump"},
        {"mass and opacity", "lump and opacity"},
        {"mass, nodule and opacity", "lump, nodule and opacity"},
        {"nodule"},
        {"nodule"},  # a fraction is as good as missing
        {"nothing", "all clear"},
        {"no mass", "no opacity", "clear"},  # n may be there: not "nothing"
        set(),  # n is absent, but has no negative text
        set(),
    ]
    assert [_all(writer, position) for position in range(len(rows))] == expected
    assert writer.write(7, 3) == writer.write(8, 3) == ""
    assert writer.count(1) == 2
    both = CaptionWriter(_multilabel(*rows), _prompts(pairs=PAIRS, no_finding=("nothing",)))
    assert _all(both, 1) == {"See mass and opacity.", "See lump and opacity.", "mass and opacity here", "lump and opacity here"}


def test_rows_without_finding_need_words_for_it():
    _ = CaptionWriter(_multilabel((1, 0, 0), (NAN, 0, 0)), _prompts(pairs=PAIRS))  # nobody needs them here
    with pytest.raises(ConfigError, match=r"^tests: 2 rows are without any finding and prompts 'p' .* give no_finding$"):
        CaptionWriter(_multilabel((0, 0, 0), (1, 0, 0), (0, 0, 0)), _prompts(pairs=PAIRS))


def test_quantities_have_name_value_and_unit():
    columns = {"target.v": [75.0, 31.27, NAN, NAN], "target.t": [0.1, NAN, 431.0, NAN]}
    prompts = _prompts(classes={"v": ("acuity", "vision"), "t": ("thickness",)}, templates=("{}",))
    writer = CaptionWriter(_dataset("regression", ("v", "t"), columns, ("letters", "um")), prompts)
    assert _all(writer, 0) == {"acuity of 75 letters and thickness of 0.1 um", "vision of 75 letters and thickness of 0.1 um"}
    assert _all(writer, 1) == {"acuity of 31.27 letters", "vision of 31.27 letters"}
    assert _all(writer, 2) == {"thickness of 431 um"}
    assert writer.write(3, 0) == ""
    plain = CaptionWriter(_dataset("regression", ("v", "t"), columns), prompts)
    assert plain.write(2, 0) == "thickness of 431"


def test_large_and_small_values_keep_their_digits():
    dataset = _dataset("regression", ("v",), {"target.v": [1234567.0, 1e-5, -2.5]})
    writer = CaptionWriter(dataset, _prompts(classes={"v": ("v",)}, templates=("{}",)))
    assert [writer.write(i, 0) for i in range(3)] == ["v of 1234567", "v of 0.00001", "v of -2.5"]


def test_concepts_and_metadata_follow_if_asked_for():
    dataset = _dataset(
        "multiclass", ("a", "b", "c"), {"target": [1.0, 1.0, 1.0, NAN]}, concepts=("spots", "halo", "rim"),
        **{"concept.spots": [1.0, 0.0, 1.0, 1.0], "concept.halo": [1.0, NAN, NAN, 1.0], "concept.rim": [0.0, 0.0, 1.0, 1.0]},
        age=[45, 50, 51, 52], skin_tone=["dark", None, "light", "light"], weight=[70.5, NAN, 71.0, 3.0],
    )  # fmt: skip
    prompts = _prompts(classes=CLASSES, templates=("{}.",), concepts={"spots": (("bright spots", "speckles"), ())})
    assert CaptionWriter(dataset, prompts).write(0, 0) == "pear."
    writer = CaptionWriter(dataset, prompts, concepts=True)
    assert _all(writer, 0) == {"pear. Visible: bright spots and halo.", "pear. Visible: speckles and halo."}
    assert _all(writer, 1) == {"pear."}
    assert "rim" in writer.write(2, 0)
    assert writer.write(3, 0) == ""
    known = CaptionWriter(dataset, prompts, metadata=("age", "skin_tone", "weight"))
    assert known.write(0, 5) == "pear. Known: age 45, skin tone dark, weight 70.5."
    assert known.write(1, 5) == "pear. Known: age 50."
    both = CaptionWriter(dataset, replace(prompts, concept_template="With {}!", metadata_template="({})"), concepts=True,
                         metadata=("age",))  # fmt: skip
    assert both.write(2, 0) == "pear. With bright spots and rim! (age 51)"
    with pytest.raises(UnknownColumnError, match="nearest is 'age'"):
        CaptionWriter(dataset, prompts, metadata=("agee",))


def test_a_writer_of_one_split_counts_its_rows():
    dataset = _dataset("multiclass", ("a", "b", "c"), {"target": [0.0, 1.0, 2.0, 1.0]})
    prompts = _prompts(classes=CLASSES, templates=("{}",))
    writer = CaptionWriter(dataset, prompts, split="train")  # rows 0 and 3
    assert (len(writer), writer.write(1, 0)) == (2, "pear")
    assert CaptionWriter(dataset, prompts, split="test").write(0, 0) == "plum"
    for position in (2, -1):
        with pytest.raises(IndexError, match=rf"no row {position} of 2"):
            writer.write(position, 0)
    with pytest.raises(UnknownNameError, match="split"):
        CaptionWriter(dataset, prompts, split="training")


def test_what_does_not_fit_is_refused():
    dataset = _dataset("multiclass", ("a", "b", "c"), {"target": [0.0]})
    with pytest.raises(ConfigError, match="none for 'c'"):
        CaptionWriter(dataset, _prompts(classes={"a": ("x",), "b": ("y",)}))
    with pytest.raises(ConfigError, match="tests has no concepts"):
        CaptionWriter(dataset, _prompts(classes=CLASSES), concepts=True)
    unlabelled = replace(dataset, labels=None, table=dataset.table.drop(columns="target"))
    with pytest.raises(ConfigError, match="tests has no labels to make captions of"):
        CaptionWriter(unlabelled, _prompts(classes=CLASSES))


def test_the_draw_alone_decides_and_all_captions_come_equally_often():
    dataset = _multilabel((1, 1, 1))
    prompts = _prompts(pairs={**PAIRS, "n": (("nodule", "node", "knot"), ())}, no_finding=("nothing",))
    writer = CaptionWriter(dataset, prompts)
    assert writer.count(0) == 2 * 2 * 3
    draws = [derived_seed(0, "caption", epoch, 5) for epoch in range(2400)]
    captions = [writer.write(0, draw) for draw in draws]
    assert captions == [CaptionWriter(dataset, prompts).write(0, draw) for draw in draws[:40]] + captions[40:]
    assert captions == [writer.write(0, np.int64(draw)) for draw in draws]
    counts = pd.Series(captions).value_counts()
    assert len(counts) == 12
    assert counts.between(200 - 70, 200 + 70).all()  # 5 standard deviations of a binomial


def test_many_findings_have_a_count_without_overflow():
    names = tuple(f"f{i}" for i in range(80))
    dataset = _dataset("multilabel", names, {f"target.{n}": [1.0] for n in names})
    writer = CaptionWriter(dataset, _prompts(pairs={n: ((f"{n} x", f"{n} y"), ()) for n in names}))
    assert writer.count(0) == 2 * 2**80
    assert writer.write(0, 2**81 - 1) == ", ".join(f"{n} y" for n in names[:-1]) + " and f79 y here"


def test_caption_templates_alone_make_captions():
    dataset = _dataset("multiclass", ("a", "b"), {"target": [1.0]})
    writer = CaptionWriter(dataset, replace(packaged_prompts("derm1m"), classes={}))
    captions = _all(writer, 0)
    assert len(captions) == 6
    assert all("b" in caption and "cancer" not in caption for caption in captions)


def _dataset_of(prompts):
    """A made-up dataset that packaged prompts suit, one row a class or finding."""
    if prompts.from_labels:
        names, kind = ("Eczema", "other"), "multiclass"
    else:
        names, kind = tuple(prompts.classes or prompts.pairs), "multiclass" if prompts.classes else "multilabel"
    eye = np.eye(len(names))
    return _dataset(kind, names, {f"target.{name}": eye[k] for k, name in enumerate(names)})


def _held(prompts):
    templates = [re.escape(t).replace(re.escape("{}"), ".+") + "$" for t in prompts.held_out_templates]
    words = [w for several in prompts.held_out_synonyms.values() for w in several]
    return [re.compile(t, re.IGNORECASE) for t in templates], [re.compile(rf"\b{re.escape(w)}\b", re.IGNORECASE) for w in words]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "multilabel", "regression"])
def test_held_out_wording_never_comes_in_500_draws(kind):
    dataset = load_phantom(kind, patients=30)
    prompts = find_prompts(dataset)
    templates, words = _held(prompts)
    assert templates
    assert words or kind == "regression"
    writer = CaptionWriter(dataset, prompts, concepts=True, metadata=("sex",))
    written = set()
    for draw in range(500):
        seed = derived_seed(1, "caption", draw)
        written.add(writer.write(seed % len(writer), seed))
    assert len(written) > 100
    for caption in written:
        assert not any(pattern.match(caption.split(" Visible")[0].split(" Known")[0]) for pattern in templates)
        assert not any(pattern.search(caption) for pattern in words)


@pytest.mark.parametrize("name", [n for n in list_prompts() if packaged_prompts(n).held_out_synonyms and n != "phantom"])
def test_held_out_wording_of_other_datasets(name):
    prompts = packaged_prompts(name)
    templates, words = _held(prompts)
    writer = CaptionWriter(_dataset_of(prompts), prompts)
    for position in range(len(writer)):
        for caption in _all(writer, position):
            assert not any(pattern.match(caption) for pattern in templates)
            assert not any(pattern.search(caption) for pattern in words)


def test_phantom_captions_tell_the_truth_and_nothing_that_is_missing():
    dataset = load_phantom("multilabel", patients=40, missing=0.3)
    prompts = find_prompts(dataset)
    writer = CaptionWriter(dataset, prompts)
    names = dataset.labels.names
    targets = dataset.table[[f"target.{n}" for n in names]].to_numpy()
    used = 0
    for position, row in enumerate(targets):
        caption = writer.write(position, 11 * position)
        if np.isnan(row).all():
            assert caption == ""
            continue
        used += bool(caption)
        for name, value in zip(names, row, strict=True):
            said = [
                phrase
                for phrase in prompts.pairs[name][0]
                if re.search(rf"(?<!no ){re.escape(phrase)}(?! with| beside)", caption)
            ]
            if value == 1:
                assert any(phrase in caption for phrase in prompts.pairs[name][0])
            elif np.isnan(value) and name != "mass":  # "a lesion" also begins other findings
                assert not said
    assert used > 0.9 * (~np.isnan(targets).all(axis=1)).sum()
