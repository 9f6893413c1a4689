"""Concept lists: signs in words, which an image-text model scores images against to classify through them.

LaBo (Yang et al. 2023, CVPR, section 3) and label-free bottlenecks (Oikarinen et al. 2023, ICLR, section 3) have a language
model list the concepts; here they are written from the vocabularies that clinicians report with, which each list names as its
source. Packaged lists lie in `conf/concepts/*.yaml`; their wording is medzoo's own. A user's file has the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.text.wording import Wording, canonical_hash, is_text, items, named, refuse_texts, spaced


@dataclass(frozen=True)
class Concept:
    """The wording of one concept.

    Attributes:
        texts: What says that it is there; fitted into the list's templates, as part of a caption.
        group: Related concepts share one (corrected together in interventions); None: in no group.
        column: The dataset's own annotated concept that this one is, which makes its truth known; None: nobody annotated it.
        source: Where it is from, if not from the list's source.
    """

    texts: tuple[str, ...]
    group: str | None = None
    column: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts))


@dataclass(frozen=True)
class ConceptList(Wording):
    """The concepts of one dataset, in the order of their scores. Checked when made.

    In a file, `concepts` is a mapping, `<name>: {texts: [...], group: ..., column: ..., source: ...}` with at least `texts`, or a
    list of names that are their own text.

    Attributes:
        name, version, source, templates: As of all `Wording`; a concept's text goes where `{}` is.
        concepts: Concept name → its wording; at least two.

    Raises:
        ConfigError: On an empty text, a template without exactly one `{}`, or two concepts of one name, text (but for case and
            spaces) or column.
    """

    kind: ClassVar[str] = "concept list"
    folder: ClassVar[str] = "concepts"

    concepts: Mapping[str, Concept]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "concepts", dict(self.concepts))
        _validate(self)

    @property
    def names(self) -> tuple[str, ...]:
        """Concept names, in order."""
        return tuple(self.concepts)

    def texts(self, name: str) -> list[str]:
        """Return every template filled with every text of a concept, template by template.

        Raises:
            UnknownNameError: If there is no such concept.
        """
        if name not in self.concepts:
            raise UnknownNameError("concept", name, self.names, where=f" of concept list {self.name!r}")
        return list(self.filled(self.concepts[name].texts))

    def space(self) -> ConceptSpace:
        """Return the names and groups of the concepts."""
        groups: dict[str, tuple[str, ...]] = {}
        for name, concept in self.concepts.items():
            if concept.group is not None:
                groups[concept.group] = (*groups.get(concept.group, ()), name)
        return ConceptSpace(self.names, groups)

    def columns(self, dataset_concepts: ConceptSpace | None) -> list[int | None]:
        """Return where the data annotate each concept.

        Args:
            dataset_concepts: The dataset's concepts; None: it annotates none, and no truth is known.

        Returns:
            One entry a concept: the position of its `column` among the dataset's concepts, or None where nobody annotated it.

        Raises:
            UnknownNameError: If a `column` is none of them; offers the nearest.
        """
        if dataset_concepts is None:
            return [None] * len(self.concepts)
        for name, concept in self.concepts.items():
            if concept.column is not None and concept.column not in dataset_concepts.names:
                where = f" of concept {name!r} in concept list {self.name!r}"
                raise UnknownNameError("column", concept.column, dataset_concepts.names, where=where)
        return [None if c.column is None else dataset_concepts.names.index(c.column) for c in self.concepts.values()]

    def check(self, labels: LabelSpace | None) -> None:
        """Refuse concepts that are classes: a classifier through them would be none through concepts.

        Names, texts and columns are compared with the class names, but for case, spaces, `_`, `-` and a leading article.

        Args:
            labels: The dataset's labels; None: there are none to compare with.

        Raises:
            ConfigError: If a concept is a class; names both.
        """
        classes = {_bare(name): name for name in (labels.names if labels else ())}
        for name, concept in self.concepts.items():
            column = () if concept.column is None else (concept.column,)
            for said in (name, *concept.texts, *column):
                if (found := classes.get(_bare(said))) is not None:
                    as_it_is = f" (as {said!r})" if said != name else ""
                    raise ConfigError(f"concept list {self.name!r}: concept {name!r}{as_it_is} is the class {found!r}; leave it "
                                      "out, or word what is seen instead")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back.

        Concepts are a list there: their order is that of the scores, and JSON with sorted keys would lose a mapping's.
        """
        concepts = [{"name": name, **vars(c), "texts": list(c.texts)} for name, c in self.concepts.items()]
        return {**super().to_dict(), "concepts": concepts}

    @classmethod
    def _arguments(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Read `to_dict`'s concepts, or a file's, which may also be a mapping or plain names."""
        if isinstance(given["version"], str) and given["version"].isdecimal():
            given["version"] = int(given["version"])  # versions are often written in quotes
        return {**given, "concepts": _concepts(given["concepts"])}

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of what makes the texts, in hexadecimal.

        Templates, and concepts with their texts, all in order (that of the scores); not the list's name, version and sources,
        nor groups and columns.
        """
        made_of = {"templates": list(self.templates), "concepts": [[n, list(c.texts)] for n, c in self.concepts.items()]}
        return canonical_hash(made_of)


read_concepts, packaged_concepts, list_concept_lists = ConceptList.read, ConceptList.packaged, ConceptList.packaged_names
find_concepts = ConceptList.find


def _concepts(value: object) -> dict[str, Concept]:
    if not isinstance(value, list | tuple):
        return {name: _concept(name, given) for name, given in named(value, "concepts").items()}
    concepts: dict[str, Concept] = {}
    for item in value:
        name, rest = item, None
        if isinstance(item, Mapping):
            name, rest = item.get("name"), {key: value for key, value in item.items() if key != "name"}
        if not isinstance(name, str):
            raise ConfigError(f"concepts: {item!r} is not the name of a concept; write it in quotes")
        if name in concepts:
            raise ConfigError(f"concepts: {name!r} is given twice; keep one")
        concepts[name] = Concept((name,)) if rest is None else _concept(name, rest)
    return concepts


def _concept(name: str, given: object) -> Concept:
    if not isinstance(given, Mapping):
        raise ConfigError(f"concept {name!r} is {given!r}, not {{texts: [...]}}")
    known = [f.name for f in fields(Concept)]
    for key in given:
        if key not in known:
            raise UnknownNameError("key", key, known, where=f" of concept {name!r}")
    if "texts" not in given:
        raise ConfigError(f"concept {name!r} has no texts; give one, or list names alone")
    return Concept(**{**given, "texts": items(given["texts"], f"concept {name!r}: texts")})


def _validate(concepts: ConceptList) -> None:
    where = concepts.where
    if len(concepts.concepts) < 2:
        raise ConfigError(f"{where}: a bottleneck needs two concepts or more, not {len(concepts.concepts)}")
    owner: dict[str, str] = {}
    columns: dict[str, str] = {}
    for name, concept in concepts.concepts.items():
        if not is_text(name):
            raise ConfigError(f"{where}: concept name {name!r} is empty or not text; write it in quotes")
        refuse_texts(concept.texts, f"{where}: concept {name!r}", exact=False)
        for key in ("group", "column", "source"):
            told = getattr(concept, key)
            if told is not None and not is_text(told):
                raise ConfigError(f"{where}: concept {name!r}: {key} is {told!r}, not text; write it in quotes, or leave it out")
        for said in (name, *concept.texts):
            if owner.setdefault(spaced(said), name) != name:
                raise ConfigError(f"{where}: {said!r} stands for both {owner[spaced(said)]!r} and {name!r}; keep one")
        if concept.column is not None and columns.setdefault(concept.column, name) != name:
            raise ConfigError(f"{where}: column {concept.column!r} is both {columns[concept.column]!r} and {name!r}; keep one")


def _bare(text: str) -> str:
    return re.sub(r"^(a|an|the) ", "", spaced(re.sub(r"[_-]", " ", text)))
