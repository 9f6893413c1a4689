"""Every packaged file loads and suits its dataset; every mistake in wording is one clear line; the hash sees every word."""

from __future__ import annotations

import copy
import hashlib
import json
import re

import pytest
import yaml

from medzoo.data.datasets.phantom.load import load as load_phantom
from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace, descendants
from medzoo.data.registry import dataset_infos, list_datasets
from medzoo.data.text.prompts import Prompts, find_prompts, list_prompts, packaged_prompts, prompts_from_names, read_prompts

INFOS = [info for name in list_datasets() for info in dataset_infos(name)]
WITHOUT = {"folder", "shards", "table"}  # datasets whose classes the user names
GIVEN = {
    "name": "mine",
    "version": 1,
    "source": "the tests",
    "templates": ["An image of {}.", "{} is shown"],
    "classes": {"a": ["apple", "red apple"], "b": ["pear"]},
}
FINDINGS = {"m": {"positive": ["mass"], "negative": ["no mass"]}, "n": {"positive": ["nodule", "node"]}}


def _given(**changes):
    return Prompts.from_dict({**copy.deepcopy(GIVEN), **changes})


def _findings(**changes):
    return _given(**{"classes": {}, "pairs": copy.deepcopy(FINDINGS), **changes})


def test_texts_are_templates_by_synonyms_the_canonical_first():
    assert _given().texts("a") == ("An image of apple.", "An image of red apple.", "apple is shown", "red apple is shown")
    assert _given().texts("b") == ("An image of pear.", "pear is shown")
    with pytest.raises(UnknownNameError, match=r"unknown class 'apple' of prompts 'mine'"):
        _given().texts("apple")


def test_braces_in_a_name_are_text():
    assert prompts_from_names(["a{0}", "{x}"], ["An image of {}."]).texts("{x}") == ("An image of {x}.",)


def test_findings_have_positive_and_negative_prompts_or_none():
    prompts = _findings()
    assert prompts.positive("n") == ("An image of nodule.", "An image of node.", "nodule is shown", "node is shown")
    assert prompts.negative("m") == ("An image of no mass.", "no mass is shown")
    assert prompts.negative("n") == ()
    assert prompts.texts("m") == prompts.positive("m")
    for method in (prompts.positive, prompts.negative):
        with pytest.raises(UnknownNameError, match="did you mean 'm'"):
            method("M")


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_packaged_prompts_suit_every_dataset(info):
    prompts = find_prompts(info)
    if info.name in WITHOUT:
        assert prompts is None
        return
    assert prompts is not None
    if info.labels is None:
        assert prompts.from_labels
        prompts = prompts.for_labels(LabelSpace("multiclass", ("eczema", "psoriasis")))
        assert prompts.texts("eczema")[2] == "A skin image of eczema."
        return
    prompts.check(info.labels, info.concepts)
    assert not prompts.family
    assert not prompts.from_labels
    seen = set()
    for name in info.labels.names:
        texts = prompts.texts(name)
        assert len(set(texts)) == len(texts) >= 1
        assert all("{}" not in text and text == text.strip() for text in texts)
        if info.labels.exclusive:  # no text may stand for two classes
            assert not seen & set(texts)
            seen |= set(texts)
    if info.labels.kind == "multilabel" and not info.name.startswith("scin"):
        assert all(prompts.negative(name) for name in info.labels.names)
        assert prompts.no_finding


def test_every_packaged_file_is_used_and_says_where_its_wording_is_from():
    names = list_prompts()
    found = {prompts.name for info in INFOS if (prompts := find_prompts(info)) is not None}
    assert set(names) == found
    assert sum(name.startswith("medmnist_") for name in names) == 18
    for name in names:
        prompts = packaged_prompts(name)
        assert prompts.name == name
        assert prompts.version >= 1
        assert prompts.source


def test_wording_that_can_be_wrong_without_notice():
    """Grades by number, an inverted class order and the published templates, written out once more."""
    retina = packaged_prompts("medmnist_retinamnist")
    assert [retina.classes[str(grade)][0] for grade in range(5)] == [
        "no diabetic retinopathy",
        "mild nonproliferative diabetic retinopathy",
        "moderate nonproliferative diabetic retinopathy",
        "severe nonproliferative diabetic retinopathy",
        "proliferative diabetic retinopathy",
    ]
    breast = packaged_prompts("medmnist_breastmnist")
    assert "malignan" in breast.classes["malignant"][0]
    assert breast.classes["normal, benign"][0] == "no malignancy"
    for flag in ("organamnist", "organcmnist", "organsmnist", "organmnist3d"):
        organs = packaged_prompts(f"medmnist_{flag}").classes
        for organ in ("kidney", "lung", "femur"):
            assert f"left {organ}" in organs[f"{organ}-left"][0]
            assert f"right {organ}" in organs[f"{organ}-right"][0]
    chest, small = packaged_prompts("chestxray14"), packaged_prompts("medmnist_chestmnist")
    assert chest.positive("Pneumothorax")[0] == "pneumothorax"
    assert chest.negative("Pneumothorax")[0] == "no pneumothorax"
    rename = {"pleural": "Pleural_Thickening"}
    assert {name: chest.pairs[rename.get(name, name.capitalize())] for name in small.pairs} == small.pairs
    assert packaged_prompts("derm1m").templates == (
        "This is a skin image of {}", "This is a skin image of {}.", "A skin image of {}.", "An image of {}, a skin condition.",
        "{}, a skin disorder, is shown in this image.", "The skin lesion depicted is {}.", "The skin cancer in this image is {}.",
        "This image depicts {}, a type of skin cancer.",
    )  # fmt: skip
    assert not any("cancer" in template for template in packaged_prompts("derm1m").caption_templates)


def test_a_dataset_is_found_by_its_most_special_file():
    names = {info.name: info for info in INFOS}
    eight, fourteen = find_prompts(names["chestxray14/8"]), find_prompts(names["chestxray14/14"])
    assert eight.pairs == {name: pair for name, pair in fourteen.pairs.items() if name in names["chestxray14/8"].labels.names}
    assert eight.no_finding != fourteen.no_finding  # other findings than the eight may be there
    assert find_prompts(names["olives/fundus/disease"]).templates != find_prompts(names["olives/bscan/disease"]).templates
    assert find_prompts(names["olives/fundus/disease"]).concepts == find_prompts(names["olives/bscan/biomarkers"]).pairs
    assert find_prompts(load_phantom("ordinal", patients=4)) == find_prompts(names["phantom/ordinal"])


def test_phantom_holds_wording_out_that_its_captions_never_have():
    for kind in ("binary", "multiclass", "ordinal", "multilabel"):
        dataset = load_phantom(kind, patients=150)
        prompts = find_prompts(dataset)
        unseen = prompts.held_out(templates=True, synonyms=True)
        own = "\n".join(dataset.table["caption"]).casefold()
        for template in prompts.held_out_templates:
            pattern = re.escape(template.casefold()).replace(re.escape("{}"), ".*")
            assert not re.search(pattern, own), template
        for words in prompts.held_out_synonyms.values():
            assert not any(re.search(rf"\b{re.escape(word)}\b", own) for word in words)
        for name in dataset.labels.names:
            assert not set(unseen.texts(name)) & set(prompts.texts(name))
        words = set(re.findall(r"\w+", own))  # the nouns are the captions' own
        assert {"synthetic", "scan", "phantom", "simulated", "organ", "lesion", "image"} <= words


def test_held_out_takes_the_place_of_what_was_given():
    prompts = _given(held_out_templates=["See {}!"], held_out_synonyms={"a": ["pippin"], "b": ["bartlett"]})
    assert prompts.held_out().texts("a") == ("See apple!", "See red apple!")
    assert prompts.held_out(templates=False, synonyms=True).texts("b") == ("An image of bartlett.", "bartlett is shown")
    assert prompts.held_out(synonyms=True).texts("a") == ("See pippin!",)
    assert prompts.held_out().name != prompts.name
    findings = _findings(held_out_synonyms={"m": ["lump"], "n": ["knot"]}).held_out(templates=False, synonyms=True)
    assert findings.positive("m")[0] == "An image of lump."
    assert findings.negative("m")[0] == "An image of no mass."
    with pytest.raises(ConfigError, match=r"^prompts 'mine' hold no templates out"):
        _given().held_out()
    with pytest.raises(ConfigError, match=r"hold no synonyms out for 'b';"):
        _given(held_out_synonyms={"a": ["pippin"]}).held_out(templates=False, synonyms=True)


def test_from_labels_takes_the_datasets_names_but_for_exceptions():
    scin = packaged_prompts("scin")
    soft = scin.for_labels(LabelSpace("multiclass", ("Eczema", "other")))
    assert soft.classes == {"Eczema": ("Eczema",), "other": ("another skin condition",)}
    many = scin.for_labels(LabelSpace("multilabel", ("Eczema", "other")))
    assert many.pairs == {"Eczema": (("Eczema",), ()), "other": (("another skin condition",), ())}
    assert many.classes == {}
    scin.check(LabelSpace("multiclass", ("Eczema", "never heard of")))
    assert _given(classes="from_labels").from_labels


def test_a_family_gives_each_label_space_its_own_part():
    spaces = LabelSpace("multiclass", ("a", "b")), LabelSpace("multilabel", ("m",)), ConceptSpace(("n", "z"))
    family = _given(pairs=FINDINGS, family=True)
    assert family.for_labels(spaces[0], spaces[2]).to_dict() == _given(concepts={"n": FINDINGS["n"]}).to_dict()
    alone = family.for_labels(spaces[1])
    assert (alone.classes, set(alone.pairs), alone.concepts) == ({}, {"m"}, {})
    assert _given().for_labels(spaces[1]) == _given()  # no family: nothing is left out without a word


@pytest.mark.parametrize(
    ("prompts", "labels", "error", "message"),
    [
        (_given(), ("multiclass", ("a", "c")), UnknownNameError, r"unknown prompt class 'b' in prompts 'mine'"),
        (
            _given(classes={"tumor": ["x"], "cyst": ["y"]}), ("multiclass", ("tumour", "cyst")), UnknownNameError,
            r"unknown prompt class 'tumor' in prompts 'mine'; did you mean 'tumour'",
        ),
        (_given(), ("ordinal", ("a", "b", "c", "d")), ConfigError, r"'mine' have none for 'c', 'd'; add them under classes$"),
        (_findings(), ("multilabel", ("m", "n", "o")), ConfigError, r"none for 'o'; add them under pairs$"),
        (_findings(), ("multilabel", ("m",)), UnknownNameError, r"unknown prompt class 'n'"),
        (_given(), ("multilabel", ("a", "b")), ConfigError, r"have classes, but the labels are multilabel"),
        (_findings(), ("multiclass", ("m", "n")), ConfigError, r"have pairs, but the labels are multiclass"),
    ],
)  # fmt: skip
def test_check_holds_prompts_against_a_dataset(prompts, labels, error, message):
    with pytest.raises(error, match=message) as caught:
        prompts.check(LabelSpace(*labels))
    assert "\n" not in str(caught.value)


def test_check_looks_at_concepts_where_they_are_given():
    prompts, labels = _given(concepts=FINDINGS), LabelSpace("multiclass", ("a", "b"))
    prompts.check(labels)
    prompts.check(labels, ConceptSpace(("m", "n", "unworded")))
    with pytest.raises(UnknownNameError, match=r"unknown prompt concept 'n' in prompts 'mine'; known: m"):
        prompts.check(labels, ConceptSpace(("m",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out_templates": ["nothing"]}, r"template 'nothing' does not have"),
        ({"held_out_templates": ["an image of {}"]}, r"held-out template 'an image of \{\}' is also a template"),
        ({"concept_template": "Seen."}, r"template 'Seen.' does not have"),
        ({"caption_templates": ["Other {}."]}, r"caption template 'Other \{\}.' is not one of its templates"),
        ({"classes": {"a": [], "b": ["pear"]}}, r"class 'a': there is no text"),
        ({"classes": {"a": [" "]}}, r"class 'a': ' ' is empty"),
        ({"classes": {"a": ["x", "x"]}}, r"class 'a': 'x' is given twice"),
        ({"classes": {"a": ["x"], "b": ["X"]}}, r"'X' stands for both 'a' and 'b'"),
        ({"classes": {"a": ["x", False]}}, r"class 'a': False is empty or not text; write it in quotes"),
        ({"classes": {0: ["x"]}}, r"classes: name 0 is not text; quote it: \"0\""),
        ({"classes": ["a"]}, r"classes holds list, not names and their texts"),
        ({"classes": {}}, r"neither classes nor pairs"),
        ({"templates": ["A {}.", "{}."], "classes": {"a": ["x", "A x"]}}, r"filled templates of 'a': 'A x.' is given twice"),
        ({"pairs": {"m": ["mass"]}}, r"pairs: m is \['mass'\], not \{positive"),
        ({"pairs": {"m": {"negative": ["no"]}}}, r"finding 'm' \(positive\): there is no text"),
        ({"pairs": {"m": {"positive": ["x"], "negative": ["x"]}}}, r"finding 'm' has 'x' as positive and as negative"),
        ({"held_out_synonyms": {"c": ["x"]}}, r"unknown class 'c' under held_out_synonyms"),
        ({"held_out_synonyms": {"a": ["Apple"]}}, r"held-out synonym 'Apple' of 'a' stands in 'apple', which training uses"),
        ({"held_out_synonyms": {"b": ["apple"]}}, r"'apple' stands for both 'a' and 'b'"),
        ({"held_out_synonyms": {"b": ["red"]}}, r"held-out synonym 'red' of 'b' stands in 'red apple'"),
        ({"family": "yes"}, r"family is 'yes', not true or false"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(tmp_path, changes, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GIVEN, **changes}), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_dict_and_its_json_give_the_same_prompts():
    for name in list_prompts():
        prompts = packaged_prompts(name)
        back = Prompts.from_dict(json.loads(json.dumps(prompts.to_dict())))
        assert back == prompts
        assert back.hash == prompts.hash


def _leaves(value, path=()):
    """Yield the path of every text, number and truth value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if children is None:
        yield path
    else:
        for key, child in children:
            yield from _leaves(child, (*path, key))


def test_the_hash_sees_every_word_and_nothing_else():
    full = _given(
        pairs=FINDINGS, concepts=FINDINGS, no_finding=["none"], caption_templates=["{} is shown"], held_out_templates=["See {}!"],
        held_out_synonyms={"a": ["pippin"]},
    )  # fmt: skip
    described = full.to_dict()
    canonical = json.dumps(described, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    assert full.hash == hashlib.sha256(canonical).hexdigest()
    hashes = {full.hash}
    paths = [p for p in _leaves(described) if p[0] not in ("family", "from_labels")]
    assert len(paths) > 20
    for path in paths:
        changed = copy.deepcopy(described)
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        old = holder[path[-1]]
        holder[path[-1]] = old + 1 if isinstance(old, int) else f"{old}~"
        if path == ("templates", 1):  # the caption templates must stay among the templates
            changed["caption_templates"] = ["{} is shown~"]
        if path[0] == "caption_templates":
            changed["templates"].append(holder[path[-1]])
        hashes.add(Prompts.from_dict(changed).hash)
    assert len(hashes) == len(paths) + 1
    backwards = {key: described[key] for key in reversed(described)}
    assert Prompts.from_dict(backwards).hash == full.hash
    swapped = {**described, "classes": {"a": ["red apple", "apple"], "b": ["pear"]}}
    assert Prompts.from_dict(swapped).hash != full.hash  # another word is canonical


def test_prompts_from_names():
    prompts = prompts_from_names(["cat", "dog"], ["a {}"])
    assert (prompts.texts("cat"), prompts.texts("dog")) == (("a cat",), ("a dog",))
    assert all("cat" in text for text in prompts_from_names(["cat", "dog"]).texts("cat"))
    for names in (["cat", "cat"], ["cat", ""], []):
        with pytest.raises(ConfigError, match="class names"):
            prompts_from_names(names)


ONTOLOGY = {
    "root": ["inflammatory", "proliferations"],
    "inflammatory": ["eczema", "psoriasis", "both"],
    "proliferations": ["benign", "both"],
    "benign": ["nevus"],
    "both": ["x", "y"],
    "eczema": [],
}


def test_descendants_are_leaves_each_once():
    assert descendants(ONTOLOGY, "root") == ("eczema", "psoriasis", "x", "y", "nevus")
    assert descendants(ONTOLOGY, "proliferations") == ("nevus", "x", "y")
    assert descendants(ONTOLOGY, "psoriasis") == ("psoriasis",)
    assert descendants(ONTOLOGY, "eczema") == ("eczema",)
    with pytest.raises(UnknownNameError, match="unknown ontology node 'benig'; did you mean 'benign'"):
        descendants(ONTOLOGY, "benig")


def test_a_circle_in_an_ontology_is_refused():
    with pytest.raises(DatasetError, match=r"b > c > b is a circle"):
        descendants({"a": ["b"], "b": ["c"], "c": ["d", "b"]}, "a")
    with pytest.raises(DatasetError, match=r"a > a is a circle"):
        descendants({"a": ["a"]}, "a")
    deep = {f"n{i}": [f"n{i + 1}"] for i in range(5000)}
    assert descendants(deep, "n0") == ("n5000",)
    many_ways = {f"{side}{i}": [f"a{i + 1}", f"b{i + 1}"] for i in range(60) for side in "ab"}  # 2 to the power of 60 of them
    assert descendants(many_ways, "a0") == ("a60", "b60")
