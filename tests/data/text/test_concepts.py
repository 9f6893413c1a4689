"""Every packaged list loads, suits its dataset and leaks no class; every mistake is one clear line; the hash sees every text."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest
import yaml

from medzoo.data.datasets.olives.labels import BIOMARKERS
from medzoo.data.datasets.phantom.load import CONCEPT_SPACE as PHANTOM
from medzoo.data.datasets.phantom.load import load as load_phantom
from medzoo.data.datasets.scin.answers import CONCEPT_SPACE as SCIN
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.registry import dataset_infos, list_datasets
from medzoo.data.text.concepts import Concept, ConceptList, find_concepts, list_concept_lists, packaged_concepts, read_concepts

INFOS = [info for name in list_datasets() for info in dataset_infos(name)]
WITHOUT = {"folder", "shards", "table"}  # datasets whose classes the user names; volumes are no images for an image tower
GIVEN = {
    "name": "mine",
    "version": 1,
    "source": "the tests",
    "templates": ["An image of {}.", "{} is shown"],
    "concepts": {
        "halo": {"texts": ["a dark halo", "a dark ring"], "group": "edge", "column": "dark halo"},
        "spots": {"texts": ["bright spots"], "source": "elsewhere"},
        "jagged": {"texts": ["a jagged edge"], "group": "edge"},
    },
}


def _given(**changes):
    return ConceptList.from_dict({**copy.deepcopy(GIVEN), **changes})


def _with(name, **changes):
    """Return the concepts, one of them changed."""
    concepts = copy.deepcopy(GIVEN["concepts"])
    concepts[name].update(changes)
    return concepts


def test_texts_are_templates_by_texts():
    assert _given().texts("halo") == [
        "An image of a dark halo.", "An image of a dark ring.", "a dark halo is shown", "a dark ring is shown",
    ]  # fmt: skip
    assert _given(concepts=["a{0}", "b"]).texts("a{0}") == ["An image of a{0}.", "a{0} is shown"]  # braces in a text are text
    with pytest.raises(UnknownNameError, match=r"unknown concept 'Halo' of concept list 'mine'; did you mean 'halo'"):
        _given().texts("Halo")


def test_names_alone_are_their_own_texts():
    short = _given(concepts=["dark halo", "bright spots"])
    assert short.concepts == {"dark halo": Concept(("dark halo",)), "bright spots": Concept(("bright spots",))}
    assert short.space() == ConceptSpace(("dark halo", "bright spots"))


def test_the_space_has_names_in_order_and_groups():
    assert _given().names == ("halo", "spots", "jagged")
    assert _given().space() == ConceptSpace(("halo", "spots", "jagged"), {"edge": ("halo", "jagged")})


def test_columns_are_positions_among_the_datas_concepts():
    assert _given().columns(ConceptSpace(("lesion", "dark halo"))) == [1, None, None]
    assert _given().columns(None) == [None, None, None]
    with pytest.raises(
        UnknownNameError, match=r"^unknown column 'dark halo' of concept 'halo' in concept list 'mine'; did you mean 'dark halos'"
    ):
        _given().columns(ConceptSpace(("lesion", "dark halos")))


@pytest.mark.parametrize(
    ("concepts", "classes", "message"),
    [
        (["halo", "Melanoma"], ("nevus", "melanoma"), r"concept 'Melanoma' is the class 'melanoma'"),
        (["halo", "pleural  thickening"], ("Pleural_Thickening", "Mass"), r"is the class 'Pleural_Thickening'"),
        (_with("spots", texts=["a mass", "b"]), ("mass", "none"), r"concept 'spots' \(as 'a mass'\) is the class 'mass'"),
        (_with("halo", texts=["x"]), ("Dark halo", "none"), r"concept 'halo' \(as 'dark halo'\) is the class 'Dark halo'"),
    ],
)
def test_a_concept_that_is_a_class_is_refused(concepts, classes, message):
    with pytest.raises(ConfigError, match=rf"^concept list 'mine': .*{message}; leave it out") as caught:
        _given(concepts=concepts).check(LabelSpace("multilabel", classes))
    assert "\n" not in str(caught.value)


def test_a_concept_that_only_speaks_of_a_class_is_not():
    _given(concepts=["melanoma-like color", "no mass"]).check(LabelSpace("multilabel", ("melanoma", "mass")))
    _given().check(None)


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_packaged_lists_suit_every_dataset(info):
    concepts = find_concepts(info)
    if info.name in WITHOUT or info.name.startswith("olives/volume") or info.name.endswith("mnist3d"):
        assert concepts is None
        return
    assert concepts is not None
    concepts.check(info.labels)
    places = concepts.columns(info.concepts)
    assert len(places) == len(concepts.names)
    for name, place in zip(concepts.names, places, strict=True):
        assert place is None or info.concepts.names[place] == concepts.concepts[name].column


def test_every_packaged_list_is_used_and_says_where_it_is_from():
    names = list_concept_lists()
    assert set(names) == {found.name for info in INFOS if (found := find_concepts(info)) is not None}
    assert sum(name.startswith("medmnist_") for name in names) == 12
    for name in names:
        concepts = packaged_concepts(name)
        assert concepts.name == name
        assert concepts.source
        assert (8 if name != "phantom" else 5) <= len(concepts.names) <= 40
        texts = [text for concept in concepts.names for text in concepts.texts(concept)]
        assert len({text.casefold() for text in texts}) == len(texts)
        assert all(text == text.strip() and "{}" not in text and len(text.split()) < 40 for text in texts)  # a tower's 77 tokens
        assert {concept for members in concepts.space().groups.values() for concept in members} == set(concepts.names)
        assert ConceptList.from_dict(json.loads(json.dumps(concepts.to_dict(), sort_keys=True))) == concepts


def test_annotated_concepts_are_the_datasets_own():
    """The pairs that count, written out once more."""
    phantom = packaged_concepts("phantom")
    assert phantom.columns(PHANTOM) == [0, 1, 2, 3, 4]
    assert phantom.space() == PHANTOM
    olives = packaged_concepts("olives_bscan")
    assert [c.column for c in olives.concepts.values() if c.column is not None] == list(BIOMARKERS)
    assert olives.concepts["intraretinal fluid"].column == "Fluid (IRF)"
    assert olives.concepts["subretinal fluid"].column == "Fluid (SRF)"
    with pytest.raises(
        ConfigError, match=r"concept 'retinal atrophy' \(as 'Atrophy / thinning of retinal layers'\) is the class"
    ):
        olives.check(LabelSpace("multilabel", BIOMARKERS))
    scin = packaged_concepts("scin")
    annotated = {SCIN.names[place] for place in scin.columns(SCIN) if place is not None}
    assert set(SCIN.groups["texture"]) < annotated
    assert not annotated & {"itching", "pain", *SCIN.groups["other symptom"]}  # not to be seen in a photograph


def test_a_dataset_is_found_by_its_most_special_file():
    names = {info.name: info for info in INFOS}
    assert find_concepts(names["olives/bscan/biomarkers"]).name == "olives_bscan_biomarkers"
    assert find_concepts(names["olives/bscan/disease"]).name == "olives_bscan"
    assert find_concepts(names["chestxray14/8"]) == find_concepts(names["chestxray14/14"])
    assert find_concepts(load_phantom("ordinal", patients=4)) == packaged_concepts("phantom")
    axial, coronal, sagittal = (packaged_concepts(f"medmnist_organ{plane}mnist") for plane in "acs")
    assert coronal.concepts == axial.concepts
    assert len({axial.hash, coronal.hash, sagittal.hash}) == 3
    assert not {word for name in sagittal.names for text in sagittal.texts(name) for word in text.split()} & {"left", "right"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concepts": {}}, r"concept list 'mine': a bottleneck needs two concepts or more, not 0"),
        ({"concepts": []}, r"needs two concepts or more, not 0"),
        ({"concepts": ["halo"]}, r"needs two concepts or more, not 1"),
        ({"concepts": None}, r"concepts holds NoneType, not names"),
        ({"concepts": "halo"}, r"concepts holds str, not names"),
        ({"concepts": ["halo", "halo"]}, r"concepts: 'halo' is given twice"),
        ({"concepts": ["halo", "Dark  spot", "dark spot"]}, r"'dark spot' stands for both 'Dark spot' and 'dark spot'"),
        ({"concepts": ["halo", False]}, r"concepts: False is not the name of a concept; write it in quotes"),
        ({"concepts": ["halo", " "]}, r"concept name ' ' is empty or not text"),
        ({"concepts": ["halo", ["x"]]}, r"concepts: \['x'\] is not the name of a concept"),
        ({"concepts": {0: {"texts": ["x"]}}}, r"concepts: name 0 is not text; quote it"),
        ({"concepts": {"halo": ["x"]}}, r"concept 'halo' is \['x'\], not \{texts"),
        ({"concepts": {"halo": {"group": "g"}}}, r"concept 'halo' has no texts"),
        ({"concepts": _with("halo", texts=[])}, r"concept 'halo': there is no text"),
        ({"concepts": _with("halo", texts=[" "])}, r"concept 'halo': ' ' is empty"),
        ({"concepts": _with("halo", texts=[1])}, r"concept 'halo': 1 is empty or not text"),
        ({"concepts": _with("halo", texts="a ring")}, r"concept 'halo': texts is 'a ring', not a list"),
        ({"concepts": _with("halo", texts=["a ring", "A  ring"])}, r"concept 'halo': 'A ring' is given twice"),
        ({"concepts": _with("spots", texts=["A dark ring"])}, r"'A dark ring' stands for both 'halo' and 'spots'"),
        ({"concepts": _with("spots", texts=["Halo"])}, r"'Halo' stands for both 'halo' and 'spots'"),
        ({"concepts": _with("spots", text=["x"])}, r"unknown key 'text' of concept 'spots'; did you mean 'texts'"),
        ({"concepts": _with("spots", group=3)}, r"concept 'spots': group is 3, not text"),
        ({"concepts": _with("spots", column=" ")}, r"concept 'spots': column is ' ', not text"),
        ({"concepts": _with("spots", column="dark halo")}, r"column 'dark halo' is both 'halo' and 'spots'"),
        ({"concept": ["x"]}, r"unknown key 'concept'; did you mean 'concepts'"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(tmp_path, changes, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GIVEN, **changes}), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_concepts(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_needs_concepts(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: a\nversion: 1\nsource: s\ntemplates: ['{}']\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"there is no concepts; name, version, source, templates and concepts are needed"):
        read_concepts(path)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GIVEN, "version": "2"}, sort_keys=False), encoding="utf-8")
    read = read_concepts(str(path))
    assert read.version == 2
    assert read.concepts == _given().concepts
    assert read.concepts["spots"] == Concept(("bright spots",), source="elsewhere")


def test_the_order_of_concepts_outlives_json_with_sorted_keys():
    """Scores are columns in this order, and a model's spec is written with sorted keys."""
    back = ConceptList.from_dict(json.loads(json.dumps(_given().to_dict(), sort_keys=True)))
    assert back == _given()
    assert back.names == ("halo", "spots", "jagged")


def test_the_hash_sees_every_text_and_nothing_else():
    made_of = [["halo", ["a dark halo", "a dark ring"]], ["spots", ["bright spots"]], ["jagged", ["a jagged edge"]]]
    canonical = json.dumps({"concepts": made_of, "templates": GIVEN["templates"]}, separators=(",", ":")).encode()
    assert _given().hash == hashlib.sha256(canonical).hexdigest()
    same = [
        {"name": "other"}, {"version": 2}, {"source": "another"}, {"concepts": _with("halo", group=None)},
        {"concepts": _with("halo", column=None)}, {"concepts": _with("spots", source=None)},
    ]  # fmt: skip
    assert {_given(**changes).hash for changes in same} == {_given().hash}
    others = [
        {"templates": GIVEN["templates"][::-1]}, {"templates": GIVEN["templates"][:1]},
        {"concepts": _with("spots", texts=["bright dots"])}, {"concepts": _with("halo", texts=["a dark ring", "a dark halo"])},
        {"concepts": {name: GIVEN["concepts"][name] for name in ("spots", "halo", "jagged")}},
        {"concepts": {("rim" if name == "halo" else name): concept for name, concept in GIVEN["concepts"].items()}},
    ]  # fmt: skip
    assert len({_given(**changes).hash for changes in others} | {_given().hash}) == len(others) + 1
