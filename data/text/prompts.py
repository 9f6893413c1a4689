"""Prompts: the wording of classes and findings that zero-shot classification and captions are made of, versioned and hashed.

Class names are put into templates and the text embeddings averaged (CLIP, Radford et al. 2021, section 3.1.4); findings that
can occur together have a positive and a negative prompt each (CheXzero, Tiu et al. 2022). Packaged wording lies in
`conf/prompts/*.yaml`; a user's file has the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.labels import ConceptSpace, LabelSpace
from medzoo.data.text.wording import Wording, canonical_hash, items, named, refuse_braces, refuse_texts

if TYPE_CHECKING:
    from medzoo.data.dataset import Dataset
    from medzoo.data.info import DatasetInfo

DEFAULT_TEMPLATES = ("An image of {}.", "A medical image showing {}.")
"""Each holds `{}` once."""

Pair = tuple[tuple[str, ...], tuple[str, ...]]
_LISTS = ("caption_templates", "no_finding", "held_out_templates")
_NAMED = ("classes", "held_out_synonyms")
_PAIRS = ("pairs", "concepts")


@dataclass(frozen=True)
class Prompts(Wording):
    """The wording for one label space, or for a family of them. Checked when made.

    In a file, `classes: from_labels` stands for the dataset's own names; a pair is `{positive: [...], negative: [...]}`.

    Attributes:
        name, version, source, templates: As of all `Wording`; a synonym goes where `{}` is.
        classes: Exclusive class, grade or quantity → its synonyms, the canonical one first.
        pairs: Finding of multilabel labels → (positive texts, negative texts). Without a negative it can only be ranked by.
        concepts: Concept → likewise.
        no_finding: What captions say where every finding is known to be absent.
        caption_templates: Those of `templates` that are true of every class, for captions; empty: all.
        concept_template: The further sentence of a caption that lists concepts.
        metadata_template: The further sentence of a caption that lists metadata.
        held_out_templates: Templates training never uses, to test zero-shot classification on.
        held_out_synonyms: Class or finding → synonyms (positive texts) training never uses.
        from_labels: Classes are the dataset's own names, but for the exceptions in `classes`.
        family: Several label spaces are worded here, of which `for_labels` picks one; `pairs` may word its concepts.

    Raises:
        ConfigError: On an empty or repeated text, a template without exactly one `{}`, or held-out wording that is not.
    """

    kind: ClassVar[str] = "prompts"
    folder: ClassVar[str] = "prompts"
    exact: ClassVar[bool] = True

    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    concepts: Mapping[str, Pair] = field(default_factory=dict)
    no_finding: tuple[str, ...] = ()
    caption_templates: tuple[str, ...] = ()
    concept_template: str = "Visible: {}."
    metadata_template: str = "Known: {}."
    held_out_templates: tuple[str, ...] = ()
    held_out_synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    from_labels: bool = False
    family: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in _LISTS:
            object.__setattr__(self, key, tuple(getattr(self, key)))
        for key in _NAMED:
            object.__setattr__(self, key, {name: tuple(words) for name, words in getattr(self, key).items()})
        for key in _PAIRS:
            object.__setattr__(self, key, {name: (tuple(yes), tuple(no)) for name, (yes, no) in getattr(self, key).items()})
        _validate(self)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return every template filled with every synonym of a class (positive text of a finding), template by template.

        Raises:
            UnknownNameError: If there is no such class or finding.
        """
        if name in self.classes:
            return self.filled(self.classes[name])
        if name in self.pairs:
            return self.filled(self.pairs[name][0])
        raise UnknownNameError("class", name, [*self.classes, *self.pairs], where=f" of prompts {self.name!r}")

    def positive(self, name: str) -> tuple[str, ...]:
        """Return the prompts that say a finding (or concept) is there; raises UnknownNameError if there is no such."""
        return self.filled(self._pair_of(name)[0])

    def negative(self, name: str) -> tuple[str, ...]:
        """Return the prompts that say it is not; empty where none is given (rank only). Raises UnknownNameError."""
        return self.filled(self._pair_of(name)[1])

    def for_labels(self, labels: LabelSpace, concepts: ConceptSpace | None = None) -> Self:
        """Return the wording of one dataset: a family's part, or the dataset's own names; other prompts as they are.

        Args:
            labels: The dataset's labels.
            concepts: Its concepts, whose wording is kept.
        """
        if not (self.family or self.from_labels):
            return self
        worded = self.classes
        if self.from_labels:
            worded = {name: worded.get(name, (name,)) for name in labels.names}
        classes = {name: worded[name] for name in labels.names if name in worded}
        pairs = {name: self.pairs[name] for name in labels.names if name in self.pairs}
        if labels.kind == "multilabel":
            own: dict[str, Pair] = {name: (words, ()) for name, words in classes.items()} if self.from_labels else {}
            classes, pairs = {}, {**own, **pairs}
        else:
            pairs = {}
        attributes = {**self.pairs, **self.concepts}
        kept = {name: attributes[name] for name in (concepts.names if concepts else ()) if name in attributes}
        held = {name: words for name, words in self.held_out_synonyms.items() if name in classes or name in pairs}
        return replace(self, classes=classes, pairs=pairs, concepts=kept, held_out_synonyms=held, family=False, from_labels=False)

    def held_out(self, *, templates: bool = True, synonyms: bool = False) -> Prompts:
        """Return prompts in wording that training never used; negative texts stay. Call `for_labels` before.

        Args:
            templates: Put the held-out templates in place of the others.
            synonyms: Put the held-out synonyms in place of the others.

        Raises:
            ConfigError: If no wording is held out, or not for every class.
        """
        without = [name for name in (*self.classes, *self.pairs) if name not in self.held_out_synonyms]
        if templates and not self.held_out_templates:
            raise ConfigError(f"prompts {self.name!r} hold no templates out; list some under held_out_templates")
        if synonyms and (without or not self.held_out_synonyms):
            raise ConfigError(f"prompts {self.name!r} hold no synonyms out for {', '.join(map(repr, without)) or 'any class'}; "
                              "list some under held_out_synonyms")  # fmt: skip
        changed: dict[str, Any] = {"templates": self.held_out_templates} if templates else {}
        if synonyms:
            held = self.held_out_synonyms
            changed["classes"] = {name: held[name] for name in self.classes}
            changed["pairs"] = {name: (held[name], no) for name, (_, no) in self.pairs.items()}
        changed |= {"held_out_templates": (), "held_out_synonyms": {}, "caption_templates": ()}
        return replace(self, name=f"{self.name}/held-out", **changed)

    def check(self, labels: LabelSpace, concepts: ConceptSpace | None = None) -> None:
        """Hold the prompts against a dataset.

        Args:
            labels: The dataset's labels.
            concepts: Its concepts; None: the wording of concepts is not looked at.

        Raises:
            UnknownNameError: If a class, finding or concept is none of the dataset's; offers the dataset's nearest.
            ConfigError: If classes of the dataset have no prompts (lists them), or are worded as findings or the reverse.
        """
        here = self.for_labels(labels, concepts)
        multilabel, where = labels.kind == "multilabel", f" in prompts {self.name!r}"
        right, wrong = ("pairs", "classes") if multilabel else ("classes", "pairs")
        if getattr(here, wrong):
            raise ConfigError(f"prompts {self.name!r} have {wrong}, but the labels are {labels.kind}; word them under {right}")
        given = getattr(here, right)
        for name in given:
            if name not in labels.names:
                raise UnknownNameError("prompt class", name, labels.names, where)
        for name in here.concepts if concepts is not None else ():
            if concepts is not None and name not in concepts.names:
                raise UnknownNameError("prompt concept", name, concepts.names, where)
        missing = [name for name in labels.names if name not in given]
        if missing:
            raise ConfigError(f"prompts {self.name!r} have none for {', '.join(map(repr, missing))}; add them under {right}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description in the form of a prompts file; `from_dict` reads it back."""
        described = super().to_dict()
        described |= {key: list(described[key]) for key in _LISTS}
        described |= {key: {name: list(words) for name, words in described[key].items()} for key in _NAMED}
        for key in _PAIRS:
            described[key] = {n: {"positive": list(yes), "negative": list(no)} for n, (yes, no) in described[key].items()}
        return described

    @classmethod
    def _arguments(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("classes") == "from_labels":
            given.update(classes={}, from_labels=True)
        given |= {key: items(given.get(key, ()), key) for key in _LISTS}
        for keys, read in ((_NAMED, items), (_PAIRS, _pair)):
            for key in keys:
                given[key] = {name: read(words, f"{key}: {name}") for name, words in named(given.get(key, {}), key).items()}
        return given

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON (keys sorted, no spaces, UTF-8), in hexadecimal."""
        return canonical_hash(self.to_dict())

    @classmethod
    def find(cls, dataset: Dataset | DatasetInfo) -> Self | None:
        """Return the packaged prompts that suit a dataset best, as `for_labels` gives them, or None."""
        prompts = super().find(dataset)
        return prompts if prompts is None or dataset.labels is None else prompts.for_labels(dataset.labels, dataset.concepts)

    def _pair_of(self, name: str) -> Pair:
        pair = self.pairs.get(name, self.concepts.get(name))
        if pair is None:
            raise UnknownNameError("finding", name, [*self.pairs, *self.concepts], where=f" of prompts {self.name!r}")
        return pair


read_prompts, packaged_prompts, list_prompts, find_prompts = Prompts.read, Prompts.packaged, Prompts.packaged_names, Prompts.find


def prompts_from_names(names: Sequence[str], templates: Sequence[str] = DEFAULT_TEMPLATES) -> Prompts:
    """Return prompts for class names given by hand; raises ConfigError if a name is empty or given twice."""
    refuse_texts(names, "class names", exact=True)
    return Prompts("names", 1, "class names given by hand", tuple(templates), {name: (name,) for name in names})


def _pair(value: object, what: str) -> Pair:
    if not isinstance(value, Mapping) or set(value) - {"positive", "negative"}:
        raise ConfigError(f"{what} is {value!r}, not {{positive: [...], negative: [...]}}")
    return items(value.get("positive", ()), f"{what}: positive"), items(value.get("negative", ()), f"{what}: negative")


def _validate(prompts: Prompts) -> None:
    where = prompts.where
    for key in ("from_labels", "family"):
        if not isinstance(getattr(prompts, key), bool):
            raise ConfigError(f"{where}: {key} is {getattr(prompts, key)!r}, not true or false")
    if not (prompts.classes or prompts.pairs or prompts.from_labels):
        raise ConfigError(f"{where}: there are neither classes nor pairs; give one of them, or classes: from_labels")
    for key in _LISTS:
        refuse_texts(getattr(prompts, key), f"{where}: {key}", exact=True, optional=True)
    for name, words in prompts.classes.items():
        refuse_texts(words, f"{where}: class {name!r}", exact=True)
    for name, (yes, no) in [*prompts.pairs.items(), *prompts.concepts.items()]:
        refuse_texts(yes, f"{where}: finding {name!r} (positive)", exact=True)
        refuse_texts(no, f"{where}: finding {name!r} (negative)", exact=True, optional=True)
        if both := sorted(set(yes) & set(no)):
            raise ConfigError(f"{where}: finding {name!r} has {both[0]!r} as positive and as negative; keep one")
    for name, words in prompts.held_out_synonyms.items():
        refuse_texts(words, f"{where}: held_out_synonyms of {name!r}", exact=True)
        if name not in prompts.classes and name not in prompts.pairs and not prompts.from_labels:
            raise UnknownNameError("class", name, [*prompts.classes, *prompts.pairs], f" under held_out_synonyms of {where}")
    for template in (*prompts.held_out_templates, prompts.concept_template, prompts.metadata_template):
        refuse_braces(template, where)
    for template in prompts.caption_templates:
        if template not in prompts.templates:
            raise ConfigError(f"{where}: caption template {template!r} is not one of its templates; add it there")
    for name in (*prompts.classes, *prompts.pairs):
        refuse_texts(prompts.texts(name), f"{where}: the filled templates of {name!r}", exact=True)
    if not prompts.family:  # the classes of a family need not be distinct: another of its label spaces may say the same
        _refuse_shared(prompts, where)


def _refuse_shared(prompts: Prompts, where: str) -> None:
    """Refuse a synonym of two classes, and held-out wording that training could see all the same."""
    owner: dict[str, str] = {}
    for name, words in [*prompts.classes.items(), *prompts.held_out_synonyms.items()]:
        for word in words:
            if name in prompts.classes and owner.setdefault(word.casefold(), name) != name:
                raise ConfigError(f"{where}: {word!r} stands for both {owner[word.casefold()]!r} and {name!r}; keep one")
    plain = {_plain(template) for template in prompts.templates}
    for template in prompts.held_out_templates:
        if _plain(template) in plain:
            raise ConfigError(f"{where}: held-out template {template!r} is also a template (but for case and punctuation)")
    said = [*prompts.no_finding, *(word for words in prompts.classes.values() for word in words)]
    said += [word for pair in [*prompts.pairs.values(), *prompts.concepts.values()] for side in pair for word in side]
    for name, words in prompts.held_out_synonyms.items():
        for held in words:
            pattern = re.compile(rf"(?<!\w){re.escape(held)}(?!\w)", re.IGNORECASE)
            if seen := next((word for word in said if pattern.search(word)), None):
                raise ConfigError(f"{where}: held-out synonym {held!r} of {name!r} stands in {seen!r}, which training uses")


def _plain(template: str) -> str:
    return re.sub(r"[^\w{}]+", " ", template).strip().casefold()
