"""Prompts in files: a user's own YAML, and the wording that comes with medzoo for every dataset (`conf/prompts/`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medzoo.data.errors import ConfigError
from medzoo.data.info import DatasetInfo
from medzoo.data.prompts import Prompts
from medzoo.data.yaml_files import packaged_for, packaged_names, packaged_text, parse_with_base, read_text

if TYPE_CHECKING:
    from medzoo.data.dataset import Dataset

_FOLDER, _WHAT = "prompts", "prompts"


def read_prompts(path: str | Path) -> Prompts:
    """Read a YAML file with the fields of `Prompts` as keys.

    `classes: from_labels` stands for the dataset's own names; a pair is `{positive: [...], negative: [...]}`. `base` names
    packaged prompts whose keys hold wherever the file does not give them itself (all but name, version and source).

    Raises:
        ConfigError: If it cannot be read, or is no prompts; names the file.
    """
    path = Path(path).expanduser()
    return _parsed(read_text(path, _WHAT), str(path))


def packaged_prompts(name: str) -> Prompts:
    """Return prompts that come with medzoo, such as `medmnist_retinamnist`; raises UnknownNameError if there are none such."""
    return _parsed(packaged_text(_FOLDER, name, _WHAT), f"packaged prompts {name!r}")


def list_prompts() -> list[str]:
    """Return the names of the packaged prompts, sorted."""
    return packaged_names(_FOLDER)


def find_prompts(dataset: Dataset | DatasetInfo) -> Prompts | None:
    """Return the packaged prompts of a dataset, as `for_labels` gives them, or None.

    `olives/bscan/disease` is looked for as `olives_bscan_disease`, then `olives_bscan`, then `olives`.
    """
    name = packaged_for(_FOLDER, (dataset if isinstance(dataset, DatasetInfo) else dataset.info).name)
    if name is None:
        return None
    prompts = packaged_prompts(name)
    return prompts if dataset.labels is None else prompts.for_labels(dataset.labels, dataset.concepts)


def _parsed(text: str, where: str) -> Prompts:
    try:
        return Prompts.from_dict(parse_with_base(text, _FOLDER, _WHAT))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
