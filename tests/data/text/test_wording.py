"""What prompts and concept lists share: files, bases, packaged names, and mistakes in one line that names the file."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.text.concepts import ConceptList, list_concept_lists, packaged_concepts, read_concepts
from medzoo.data.text.prompts import Prompts, list_prompts, packaged_prompts, read_prompts
from medzoo.data.text.wording import Wording

HEAD = {"name": "mine", "version": 1, "source": "the tests", "templates": ["An image of {}.", "{} is shown"]}
OWN = {
    Prompts: {"classes": {"a": ["apple"], "b": ["pear"]}},
    ConceptList: {"concepts": {"halo": {"texts": ["a dark halo"]}, "spots": {"texts": ["bright spots"]}}},
}
READ = {Prompts: read_prompts, ConceptList: read_concepts}
KINDS = pytest.mark.parametrize("kind", list(OWN), ids=lambda kind: kind.folder)


def _refused(kind: type[Wording], path, text: str, message: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        READ[kind](path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@KINDS
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"templates": []}, r"^.*(prompts|concept list) 'mine': templates: there is no text; give one$"),
        ({"templates": ["An image"]}, r"template 'An image' does not have \{\} exactly once"),
        ({"templates": ["{} and {}"]}, r"template '\{\} and \{\}' does not have"),
        ({"templates": ["{a} {}"]}, r"template '\{a\} \{\}' does not have"),
        ({"templates": ["{}.", "{}."]}, r"templates: '\{\}.' is given twice"),
        ({"templates": [None]}, r"templates: None is empty or not text; write it in quotes"),
        ({"templates": "{}"}, r"templates is '\{\}', not a list"),
        ({"version": 0}, r"version 0 is not a whole number from 1"),
        ({"version": True}, r"version True is not"),
        ({"version": "1.5"}, r"version '1.5' is not"),
        ({"source": ""}, r"source '' does not say where the wording is from"),
        ({"name": None}, r"(prompts|concept list): name None is not text"),
        ({"template": ["{}"]}, r"unknown key 'template'; did you mean 'templates'"),
    ],
)
def test_mistakes_in_what_every_file_has(tmp_path, kind, changes, message):
    _refused(kind, tmp_path / "mine.yaml", yaml.safe_dump({**HEAD, **OWN[kind], **changes}), message)


@KINDS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("templates: [", r"not YAML"),
        ("- a\n- b\n", r"the file holds list"),
        ("", r"the file holds NoneType"),
        ("name: a\nname: b\n", r"key 'name' is given twice"),
        ("classes:\n  air trapping: [x]\n  air trapping: [y]\n", r"key 'air trapping' is given twice"),
        ("name: a\nversion: 1\nsource: s\n", r"there is no templates; name, version, source(, templates)? and .* are needed"),
        ("base: phantomm\n", r"unknown (prompts|concept list) 'phantomm'; did you mean 'phantom'"),
        ("base: scin\nname: a\nversion: 1\n", r"there is no source"),
        ("base: scin\nsource: s\nversion: 1\n", r"there is no name"),
        ("base: scin\nname: a\nsource: s\n", r"there is no version"),
        ("base: medmnist_chestmnist\n", r"its base has a base itself"),
        ("a: !!python/object/apply:os.getcwd []\n", r"not YAML"),
    ],
)
def test_files_that_are_none(tmp_path, kind, text, message):
    _refused(kind, tmp_path / "mine.yaml", text, message)


@KINDS
def test_a_file_that_is_not_there(tmp_path, kind):
    with pytest.raises(ConfigError, match=rf"absent.yaml: cannot read the {kind.kind} \(No such file"):
        READ[kind](tmp_path / "absent.yaml")


@KINDS
def test_a_file_may_build_on_a_packaged_one(tmp_path, kind):
    path = tmp_path / "mine.yaml"
    path.write_text("base: medmnist_octmnist\nname: mine\nversion: 3\nsource: me\ntemplates: ['{}']\n", encoding="utf-8-sig")
    mine, base = READ[kind](str(path)), kind.packaged("medmnist_octmnist")
    assert (mine.name, mine.version, mine.source, mine.templates) == ("mine", 3, "me", ("{}",))
    head = ("name", "version", "source", "templates")
    assert {k: v for k, v in mine.to_dict().items() if k not in head} == {
        k: v for k, v in base.to_dict().items() if k not in head
    }


@pytest.mark.parametrize("packaged", [packaged_prompts, packaged_concepts])
def test_an_unknown_packaged_name_offers_the_nearest(packaged):
    with pytest.raises(UnknownNameError, match=r"unknown (prompts|concept list) 'chestxray'; did you mean 'chestxray14'"):
        packaged("chestxray")


def test_packaged_names_are_sorted_and_of_their_folder():
    assert list_prompts() == sorted(list_prompts())
    assert {"derm1m", "phantom"} < set(list_prompts()) & set(list_concept_lists())
    assert "medmnist_nodulemnist3d" in set(list_prompts()) - set(list_concept_lists())


@pytest.mark.parametrize("module", ["prompts", "concepts"])
def test_wording_imports_neither_torch_nor_pandas_nor_yaml(module):
    code = f"import sys, medzoo.data.text.{module}; print([m for m in ('torch', 'pandas', 'yaml', 'hydra') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
