"""Datasets by name. A dataset is a module with `load(**options) -> Dataset` and `infos() -> list[DatasetInfo]`.

Third-party packages join by the entry-point group `medzoo.datasets` (name → module).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from medzoo.data.errors import ConfigError, DatasetError, UnknownNameError

if TYPE_CHECKING:
    from medzoo.data.dataset import Dataset
    from medzoo.data.info import DatasetInfo

ENTRY_POINTS = "medzoo.datasets"
PLACES = ("root", "packed")
"""Options of any dataset that say where it lies on a machine, and not what it is."""
_BUILT_IN = {
    "chestxray14": "medzoo.data.datasets.chestxray14.load",
    "derm1m": "medzoo.data.datasets.derm1m.load",
    "folder": "medzoo.data.datasets.folder.load",
    "medmnist": "medzoo.data.datasets.medmnist.load",
    "olives": "medzoo.data.datasets.olives.load",
    "phantom": "medzoo.data.datasets.phantom.load",
    "scin": "medzoo.data.datasets.scin.load",
    "shards": "medzoo.data.datasets.shards.load",
    "table": "medzoo.data.datasets.table.load",
}
_ANEW = {
    "folder": "split them anew with data.split=group, or ", "shards": "split them anew with data.anew=true, or ",
    "table": "split them anew with data.split=null, or ",
}  # fmt: skip
"""What else may be done about a split of the user's own that cuts groups."""


def list_datasets(pattern: str = "*") -> list[str]:
    """Return the registry names that match a shell pattern, sorted; opens no dataset."""
    from fnmatch import fnmatch

    names = set(_BUILT_IN) | {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return sorted(n for n in names if fnmatch(n, pattern))


def dataset_infos(name: str) -> list[DatasetInfo]:
    """Return the cards of a registry entry, one for each of its variants."""
    infos: list[DatasetInfo] = _module(name).infos()
    return infos


def loader_of(name: str) -> Callable[..., Dataset]:
    """Return the function that loads a registry entry: its arguments are the dataset's own options."""
    loader: Callable[..., Dataset] = _module(name).load
    return loader


def load_dataset(
    name: str,
    *,
    val_fraction: float = 0.1,
    split_seed: int = 0,
    allow_shared_groups: bool = False,
    folds: int | None = None,
    fold: int | None = None,
    outer_folds: int | None = None,
    outer_fold: int | None = None,
    domain: str | None = None,
    held_out: Any = None,
    shots: int | None = None,
    fraction: float | None = None,
    draw_seed: int = 0,
    unlabelled: bool = False,
    packed: str | None = None,
    parents: Any = None,
    horizon: str | None = None,
    tolerance: str | None = None,
    visit_inputs: Any = None,
    history: int = 0,
    **options: Any,
) -> Dataset:
    """Load a dataset by name, with a val split and no group in two splits.

    Args:
        name: Registry name; see `list_datasets`.
        val_fraction: Share of the training groups moved to val when the dataset comes without one.
        split_seed: Seed of that carving.
        allow_shared_groups: Accept an official split that shares groups; the results will say so.
        folds: Part train and val anew into so many folds by group; see `medzoo.data.splits.draws`.
        fold: Which of them is val, from 0; with `domain` which domain is test, in their sorted order.
        outer_folds: Part train and val into so many folds first, of which one is the test split; the dataset's own is left out.
        outer_fold: Which of them, from 0.
        domain: A column such as `site`, one value of which is the test split and none of training's; see
            `medzoo.data.splits.domains`. The dataset's own splits are not used then.
        held_out: Which value; None: that of `fold`.
        shots: Keep so many training samples a class.
        fraction: Keep this share of the training groups.
        draw_seed: Seed of folds, shots and fraction.
        unlabelled: Keep the training samples that shots or fraction leave out, without their labels and concepts.
        packed: Folder of images prepared once (`medzoo prepare`); the dataset's own image files are not looked at.
        parents: A tree over the labels, {child: parent} or a file of it; see `medzoo.data.tree`.
        horizon: The target is that of a later visit: `next`, or the one nearest to a span, `12w`; see `medzoo.data.visits`.
        tolerance: How far from the span it may be.
        visit_inputs: What of the visits stands beside the images: some of `now`, `until`, `since`, `earlier`.
        history: Of how many earlier visits all values stand beside the images.
        **options: The dataset's own options (`root`, `set`, `size`, ...).

    Returns:
        The checked dataset: `.table`, `.reader`, `.labels`, `.concepts`.

    Raises:
        UnknownNameError: If there is no such dataset or option.
        DatasetError: If files are missing or damaged, or a split cuts a group.
    """
    from dataclasses import replace

    from medzoo.data.options import require_numbers
    from medzoo.data.splits.domains import domain_names, held_out_level, leave_domain_out
    from medzoo.data.splits.draws import draw_fold, draw_fraction, draw_outer_fold, draw_shots, with_unlabelled
    from medzoo.data.splits.groups import carve_val, shared_groups
    from medzoo.data.splits.stratified import carve_val_by_class, val_notes
    from medzoo.data.visits.ahead import check_options, refuse_parted_visits, with_horizon

    of_visits = check_options(horizon, tolerance, visit_inputs, history)
    if held_out is not None and domain is None:
        raise ConfigError(f"data.held_out={held_out}: of which column? data.domain=<column> names it")
    if (folds is None) != (fold is None) and domain is None:
        raise ConfigError("data.folds and data.fold belong together: how many, and which of them is val")
    if (outer_folds is None) != (outer_fold is None):
        raise ConfigError("data.outer_folds and data.outer_fold belong together: how many, and which of them is test")
    if outer_folds is not None and domain is not None:
        raise ConfigError("data.outer_fold and data.domain both choose the test split; give one")
    if shots is not None and fraction is not None:
        raise ConfigError("data.shots and data.fraction exclude each other; give one")
    require_numbers(
        {
            "split_seed": split_seed,
            "draw_seed": draw_seed,
            **_given(folds=folds, fold=fold, outer_folds=outer_folds, outer_fold=outer_fold, shots=shots),
        },
        {"val_fraction": val_fraction, **_given(fraction=fraction)},
    )
    module = _module(name)
    accepted = [p for p in inspect.signature(module.load).parameters if p != "options"]
    for option in options:
        if option not in accepted:
            raise UnknownNameError("option", option, accepted, where=f" of dataset {name!r}")
    plain = {
        "allow_shared_groups": allow_shared_groups,
        "unlabelled": unlabelled,
        **{name: value for name, value in options.items() if _is_switch(module, name)},
    }
    for option, value in plain.items():
        if not isinstance(value, bool):
            raise ConfigError(f"data.{option}={value!r} is not true or false; write one of the two, without quotes")
    # Prepared images need no files: the table alone is read.
    named = isinstance(_default(module, "missing"), str)  # "error", or another word; of the phantom it is a share of labels
    asked = {**options, "missing": "ignore"} if packed is not None and named else options
    try:
        dataset: Dataset = module.load(**asked)
    except TypeError as error:
        raise ConfigError(f"dataset {name!r}: {error}") from error
    if packed is not None:
        from medzoo.data.samples.packed.images import open_packed

        dataset.options.update(name=name)
        dataset = open_packed(Path(packed).expanduser(), dataset, skip_missing=options.get("missing") == "skip")
    if parents is not None:
        dataset = with_parents(dataset, parents)
    if horizon is not None:
        dataset = with_horizon(dataset, horizon, tolerance, of_visits, history)
    table, labels, title = dataset.table, dataset.labels, dataset.info.name
    notes: list[str] = []
    if domain is not None:
        names = domain_names(title, table, domain)
        level = held_out_level(sorted(set(names)), domain, held_out, folds, fold)
        table = leave_domain_out(title, table, domain, names, level, dataset.info.split_unit)
        others = sorted(set(names) - {level})
        notes.append(f"tested on {domain}={level} alone, all of it; trained and validated on {domain}={', '.join(others)}")
        dataset.options.update(domain=domain, held_out=level)
    shared = shared_groups(table)
    if shared and not allow_shared_groups:
        group, splits = next(iter(shared.items()))
        raise DatasetError(
            f"{title}: {len(shared)} {dataset.info.split_unit} groups stand in several splits (such as {group!r} "
            f"in {' and '.join(splits)}); {_ANEW.get(name, '')}allow it by name with data.allow_shared_groups=true"
        )
    rule = options.get("split_rule") or _default(module, "split_rule") or 1
    if outer_folds is not None and outer_fold is not None:
        table = draw_outer_fold(table, labels, outer_folds, outer_fold, salt=f"{name}/outer folds/{draw_seed}")
        notes.append(f"tested on fold {outer_fold} of {outer_folds} of train and val; the dataset's own test split is left out")
    if folds is not None and fold is not None and domain is None:
        table = draw_fold(table, labels, folds, fold, salt=f"{name}/folds/{draw_seed}")
    elif "val" not in set(table["split"]) and "train" in set(table["split"]):
        if rule == 1:
            table = carve_val(table, val_fraction, salt=f"{name}/val/{split_seed}")
        else:
            table = carve_val_by_class(table, labels, val_fraction, split_seed)
    whole = table
    if shots is not None:
        if labels is None:
            raise ConfigError(f"data.shots counts samples a class, and {title} has no labels; use data.fraction")
        table, told = draw_shots(table, labels, shots, salt=f"{name}/shots/{draw_seed}")
        notes += told
    if fraction is not None:
        table = draw_fraction(table, labels, fraction, salt=f"{name}/fraction/{draw_seed}")
    if unlabelled:
        if shots is None and fraction is None:
            raise ConfigError("data.unlabelled=true keeps what data.shots or data.fraction leaves out; give one of them")
        table = with_unlabelled(table, whole)
    if horizon is not None:
        refuse_parted_visits(dataset, table)
        asked_visits = {"tolerance": tolerance, "visit_inputs": of_visits or None, "history": history or None}
        dataset.options.update(horizon=horizon, **_given(**asked_visits))
    if dataset.info.populations and rule != 1:
        notes += val_notes(table, labels, dataset.targets)
    if table is not dataset.table or notes:
        info = replace(dataset.info, notes=(*dataset.info.notes, *notes))
        dataset = replace(dataset, table=table, info=info)
    dataset.options.update(name=name, **options)
    dataset.options.update(val_fraction=val_fraction, split_seed=split_seed, allow_shared_groups=allow_shared_groups)
    dataset.options.update(folds=folds, fold=fold, shots=shots, fraction=fraction, draw_seed=draw_seed, packed=packed)
    if outer_folds is not None:
        dataset.options.update(outer_folds=outer_folds, outer_fold=outer_fold)
    if unlabelled:  # written where it was asked for: cards of before have the same hash
        dataset.options.update(unlabelled=True)
    if dataset.labels is not None and dataset.labels.parents is not None:  # as it was read: the file may move
        dataset.options.update(parents=dict(dataset.labels.parents))
    return dataset


def with_parents(dataset: Dataset, parents: Any) -> Dataset:
    """Return a dataset with a tree over its labels; ConfigError if it has none, else as `medzoo.data.tree.read_parents`."""
    from dataclasses import replace

    from medzoo.data.tree import read_parents

    if dataset.targets:
        raise ConfigError("data.parents is a tree over the labels of one target, and data.targets names several; leave it out")
    if dataset.labels is None:
        raise ConfigError(f"data.parents is a tree over labels, and {dataset.info.name} has none; leave it out")
    labels = replace(dataset.labels, parents=read_parents(parents, dataset.labels.names))
    return replace(dataset, labels=labels, info=replace(dataset.info, labels=labels))


def earlier_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return a dataset's options as a run keeps them, with what was true of those that a run of an earlier medzoo does not have.

    Args:
        options: With `name`.
    """
    module = _module(str(options["name"]))
    known = "split_rule" in options or _default(module, "split_rule") is None
    return options if known else {"split_rule": 1, **options}


def _given(**options: object) -> dict[str, object]:
    return {option: value for option, value in options.items() if value is not None}


def _default(module: ModuleType, option: str) -> Any:
    """Return an option's default; None if the dataset does not have it."""
    parameter = inspect.signature(module.load).parameters.get(option)
    return None if parameter is None else parameter.default


def _is_switch(module: ModuleType, option: str) -> bool:
    """Whether an option of a dataset is true or false."""
    return str(inspect.signature(module.load).parameters[option].annotation) in ("bool", "<class 'bool'>")


def _module(name: str) -> ModuleType:
    if name in _BUILT_IN:
        return import_module(_BUILT_IN[name])
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if point.name == name:
            module: ModuleType = point.load()
            return module
    raise UnknownNameError("dataset", name, list_datasets())
