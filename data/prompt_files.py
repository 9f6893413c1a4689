"""Prompts in files: a user's own YAML, and the wording that comes with medzoo for every dataset (`conf/prompts/`)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.data.info import DatasetInfo
from medzoo.data.prompts import Prompts, named_texts

if TYPE_CHECKING:
    from medzoo.data.dataset import Dataset


def read_prompts(path: str | Path) -> Prompts:
    """Read a YAML file with the fields of `Prompts` as keys.

    `classes: from_labels` stands for the dataset's own names; a pair is `{positive: [...], negative: [...]}`. `base` names
    packaged prompts whose keys hold wherever the file does not give them itself (all but name, version and source).

    Raises:
        ConfigError: If it cannot be read, or is no prompts; names the file.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read the prompts ({getattr(error, 'strerror', None) or error})") from None
    return _parsed(text, str(path))


def packaged_prompts(name: str) -> Prompts:
    """Return prompts that come with medzoo, such as `medmnist_retinamnist`; raises UnknownNameError if there are none such."""
    return _parsed(_packaged_text(name), f"packaged prompts {name!r}")


def list_prompts() -> list[str]:
    """Return the names of the packaged prompts, sorted."""
    entries = resources.files("medzoo.conf").joinpath("prompts").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def find_prompts(dataset: Dataset | DatasetInfo) -> Prompts | None:
    """Return the packaged prompts of a dataset, as `for_labels` gives them, or None.

    `olives/bscan/disease` is looked for as `olives_bscan_disease`, then `olives_bscan`, then `olives`.
    """
    parts = (dataset if isinstance(dataset, DatasetInfo) else dataset.info).name.split("/")
    packaged = set(list_prompts())
    for length in range(len(parts), 0, -1):
        if (name := "_".join(parts[:length])) in packaged:
            prompts = packaged_prompts(name)
            return prompts if dataset.labels is None else prompts.for_labels(dataset.labels, dataset.concepts)
    return None


def _packaged_text(name: str) -> str:
    if name not in (names := list_prompts()):
        raise UnknownNameError("prompts", name, names)
    return resources.files("medzoo.conf").joinpath("prompts", f"{name}.yaml").read_text(encoding="utf-8")


def _parsed(text: str, where: str) -> Prompts:
    try:
        given = _mapping(text)
        if "base" in given:
            base = _mapping(_packaged_text(str(given.pop("base"))))
            if "base" in base:
                raise ConfigError("its base has a base itself; name that one")
            given = {**{key: value for key, value in base.items() if key not in ("name", "version", "source")}, **given}
        return Prompts.from_dict(given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _mapping(text: str) -> dict[str, Any]:
    import yaml  # here, so that prompts kept as JSON need no PyYAML

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
    return dict(named_texts(given, "the file"))
