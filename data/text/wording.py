"""What prompts and concept lists share: a YAML file of wording (a user's, or packaged in a folder of `conf/`) and its checks."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.info import DatasetInfo

if TYPE_CHECKING:
    from medzoo.data.dataset import Dataset


@dataclass(frozen=True)
class Wording(ABC):
    """Texts under names, and the templates they are put into. Checked when made.

    A kind of wording adds its attributes, says in `kind` what messages call it, in `folder` which folder of `medzoo.conf` has its
    packaged files, and in `exact` whether texts may stand beside each other that differ in case or spaces alone.

    Attributes:
        name: What results call it.
        version: Whole number from 1; raised when the wording changes.
        source: Where the wording is from.
        templates: Texts with one `{}` each, where a text goes.

    Raises:
        ConfigError: On an unfit name, version or source, an empty or repeated template, or one without exactly one `{}`.
    """

    name: str
    version: int
    source: str
    templates: tuple[str, ...]

    kind: ClassVar[str]
    folder: ClassVar[str]
    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "templates", tuple(self.templates))
        if not is_text(self.name):
            raise ConfigError(f"{self.kind}: name {self.name!r} is not text")
        if not isinstance(self.version, int) or isinstance(self.version, bool) or self.version < 1:
            raise ConfigError(f"{self.where}: version {self.version!r} is not a whole number from 1")
        if not is_text(self.source):
            raise ConfigError(f"{self.where}: source {self.source!r} does not say where the wording is from")
        refuse_texts(self.templates, f"{self.where}: templates", exact=self.exact, name=False)
        for template in self.templates:
            refuse_braces(template, self.where)

    @property
    def where(self) -> str:
        """What messages about it begin with."""
        return f"{self.kind} {self.name!r}"

    def filled(self, words: Iterable[str]) -> tuple[str, ...]:
        """Return every template filled with every word, template by template; braces in a word are text."""
        return tuple(template.replace("{}", word) for template in self.templates for word in words)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description in the form of a file; `from_dict` reads it back."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"templates": list(self.templates)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """Read a description: `to_dict`'s, or the content of a file.

        Raises:
            ConfigError: On an unknown or missing key, or a value of the wrong kind.
        """
        known = {f.name: f.default is f.default_factory is MISSING for f in fields(cls)}
        for key in described:
            if key not in known:
                raise UnknownNameError("key", key, known)
        needed = [key for key, must in known.items() if must]
        for key in needed:
            if key not in described:
                raise ConfigError(f"there is no {key}; {listed(needed)} are needed")
        return cls(**cls._arguments({**described, "templates": items(described["templates"], "templates")}))

    @classmethod
    @abstractmethod
    def _arguments(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Turn a file's values, keys and templates checked, into those of the attributes."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a YAML file (UTF-8, with or without a byte order mark) with the attributes as keys.

        `base` names a packaged file whose keys hold wherever the file does not give them itself (all but name, version and
        source).

        Raises:
            ConfigError: If it cannot be read, or does not hold what it must; names the file.
        """
        path = Path(path).expanduser()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot read the {cls.kind} ({getattr(error, 'strerror', None) or error})") from None
        return cls._parsed(text, str(path))

    @classmethod
    def packaged_names(cls) -> list[str]:
        """Return the names of the packaged files, sorted."""
        entries = resources.files("medzoo.conf").joinpath(cls.folder).iterdir()
        return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))

    @classmethod
    def packaged(cls, name: str) -> Self:
        """Read a packaged file; raises UnknownNameError, which offers the nearest, if there is none such."""
        return cls._parsed(cls._packaged_text(name), f"packaged {cls.kind} {name!r}")

    @classmethod
    def find(cls, dataset: Dataset | DatasetInfo) -> Self | None:
        """Read the packaged file that suits a dataset best, or return None.

        `olives/bscan/disease` is looked for as `olives_bscan_disease`, then `olives_bscan`, then `olives`.
        """
        parts = (dataset if isinstance(dataset, DatasetInfo) else dataset.info).name.split("/")
        names, tried = cls.packaged_names(), ("_".join(parts[:length]) for length in range(len(parts), 0, -1))
        name = next((name for name in tried if name in names), None)
        return None if name is None else cls.packaged(name)

    @classmethod
    def _packaged_text(cls, name: str) -> str:
        if name not in (names := cls.packaged_names()):
            raise UnknownNameError(cls.kind, name, names)
        return resources.files("medzoo.conf").joinpath(cls.folder, f"{name}.yaml").read_text(encoding="utf-8")

    @classmethod
    def _parsed(cls, text: str, where: str) -> Self:
        try:
            given = parse_mapping(text)
            if "base" in given:
                base = parse_mapping(cls._packaged_text(str(given.pop("base"))))
                if "base" in base:
                    raise ConfigError("its base has a base itself; name that one")
                given = {key: value for key, value in base.items() if key not in ("name", "version", "source")} | given
            return cls.from_dict(given)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None


def parse_mapping(text: str) -> dict[str, Any]:
    """Return the keys and values of a YAML mapping; raises ConfigError if it is none, or a key is given twice at any depth."""
    import yaml  # here, so that wording kept as JSON needs no PyYAML

    try:
        waiting, seen = [yaml.compose(text, Loader=yaml.SafeLoader)], set[int]()
        while waiting:  # safe_load would keep the last of two equal keys without a word
            node = waiting.pop()
            if id(node) in seen or not isinstance(node, yaml.CollectionNode):
                continue
            seen.add(id(node))
            keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
            for key in keys:
                if keys.count(key) > 1:
                    raise ConfigError(f"key {key!r} is given twice; keep one")
            waiting += [value for _, value in node.value] if keys else node.value
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML ({error})") from None
    return dict(named(given, "the file"))


def canonical_hash(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON (keys sorted, no spaces, UTF-8), in hexadecimal."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def items(value: object, what: str) -> tuple[Any, ...]:
    """Return a list's items; raises ConfigError if it is no list (a lone text would come apart into letters)."""
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{what} is {value!r}, not a list of texts")
    return tuple(value)


def named(value: object, what: str) -> Mapping[str, Any]:
    """Return a mapping of names; raises ConfigError if it is none, or a name is not text."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} holds {type(value).__name__}, not names and their texts")
    for name in value:
        if not isinstance(name, str):
            raise ConfigError(f'{what}: name {name!r} is not text; quote it: "{name}"')
    return value


def refuse_texts(texts: Sequence[Any], what: str, *, exact: bool, optional: bool = False, name: bool = True) -> None:
    """Raise ConfigError if there is no text and it is not `optional`, one is empty or not text, or two are the same.

    Args:
        texts: The texts of `what`.
        what: For messages.
        exact: Compare letter by letter; else but for case and spaces.
        optional: There may be none.
        name: They are the texts of a name, which could be left out.
    """
    if not texts and not optional:
        raise ConfigError(f"{what}: there is no text; give one{', or leave the name out' if name else ''}")
    seen: set[str] = set()
    for text in texts:
        if not is_text(text):
            raise ConfigError(f"{what}: {text!r} is empty or not text; write it in quotes")
        if (same := text if exact else spaced(text)) in seen:
            raise ConfigError(f"{what}: {text!r} is given twice{'' if exact else ' (but for case and spaces)'}; keep one")
        seen.add(same)


def refuse_braces(template: object, where: str) -> None:
    """Raise ConfigError if a template has not exactly one `{}`, and no other brace."""
    if not isinstance(template, str) or not template.count("{") == template.count("}") == template.count("{}") == 1:
        raise ConfigError(f"{where}: template {template!r} does not have {{}} exactly once, for the words, and no other brace")


def is_text(value: object) -> bool:
    """Return whether a value is text with more than spaces."""
    return isinstance(value, str) and bool(value.strip())


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def spaced(text: str) -> str:
    """Return a text to compare by: case folded, single spaces."""
    return " ".join(text.casefold().split())
