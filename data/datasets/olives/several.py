"""OLIVES with several images a sample: fundus image and volume of a visit of an eye, or a B-scan and its visit's fundus image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medzoo.data.datasets.olives.files import Notes, fundus_paths, scan_paths, visits_of, volume_paths
from medzoo.data.errors import ConfigError, DatasetError
from medzoo.data.images.files import FileReader, Missing, StackReader, with_files
from medzoo.data.images.reader import Reader
from medzoo.data.options import chosen
from medzoo.data.tables import count_note

MODALITIES = ("bscan", "volume", "fundus")


def modalities_option(given: Any, images: str, source: str) -> list[str]:
    """Return the option `modalities`, empty where nothing is given.

    Args:
        given: What the user gave, or None.
        images: The option `images`, which is for one image a sample.
        source: The option `source`.

    Raises:
        UnknownNameError: If it names what is not there; offers the nearest.
        ConfigError: If it is no list, or does not go together with itself or the others.
    """
    names = chosen(given, "modalities", MODALITIES)
    if names is None:
        return []
    asked = f"data.modalities=[{', '.join(names)}]"
    if source == "parquet":
        raise ConfigError(f"{asked} needs data.source=csv: the parquet form has B-scans alone, without visits")
    if images != "bscan":
        raise ConfigError(f"data.images={images} names the one image of a sample, and {asked} several; give one of the two")
    if {"bscan", "volume"} <= set(names):
        raise ConfigError(f"{asked}: a B-scan is a slice of its visit's volume; give one of the two")
    return names


def readers(root: Path, modalities: Sequence[str]) -> dict[str, Reader]:
    """Return what reads each modality of `joined_samples`, by name."""
    return {
        name: StackReader(root, (f"path_{name}",)) if name == "volume" else FileReader(root, (f"path_{name}",), 1)
        for name in modalities
    }


def joined_samples(
    table: pd.DataFrame, present: list[str], missing: Missing, modalities: Sequence[str]
) -> tuple[pd.DataFrame, Notes]:
    """Put the images of each sample side by side.

    Args:
        table: The rows of `read_labels`.
        present: Paths of all files below the root.
        missing: `error`: all files must be there. `skip`: a sample lacks what is not there (a volume, if a slice is not), and
            is left out if it lacks everything. `ignore`: nobody looks.
        modalities: Some of `MODALITIES`.

    Returns:
        One row a visit of an eye, or with `bscan` a labelled B-scan, with `sample_id` and `path_<modality>`; notes.

    Raises:
        DatasetError: If files are missing, one lies in two places, or the scans of a visit contradict each other.
    """
    visits = visits_of(table)
    scans = table.assign(sample_id=table["path"])
    samples = scans.drop(columns="path") if "bscan" in modalities else visits
    found: dict[str, pd.Series] = {}
    notes: Notes = ()
    if "fundus" in modalities:
        paths, notes = fundus_paths(visits, present)
        found["fundus"] = samples["folder"].map(paths.set_axis(visits["folder"]))
    if {"bscan", "volume"} & set(modalities):
        paths, more = scan_paths(table, present)
        notes += more
        if "bscan" in modalities:
            found["bscan"] = paths
        else:
            found["volume"], more = volume_paths(scans.assign(path=paths), visits)
            notes += more
    samples = samples.assign(**{f"path_{name}": found[name] for name in modalities})
    if missing == "ignore":
        return samples, notes
    if missing == "error":
        for name in modalities:
            single = samples[f"path_{name}"].str.split("|").explode().rename("path").reset_index(drop=True)
            with_files(single.to_frame(), present, ["path"], missing, "olives")
        return samples, notes
    return _with_what_is_there(samples, present, modalities, notes)


def _with_what_is_there(
    samples: pd.DataFrame, present: list[str], modalities: Sequence[str], notes: Notes
) -> tuple[pd.DataFrame, Notes]:
    """Let each sample lack the images that have a file missing; leave those out that lack all."""
    there, absent = set(present), set[str]()
    for column in [f"path_{name}" for name in modalities]:
        lacking = samples[column].map(lambda joined: set(joined.split("|")) - there)
        absent |= set[str]().union(*lacking)
        samples[column] = samples[column].where(lacking.map(len) == 0, None)
    if not absent:
        return samples, notes
    kept = samples[samples[[f"path_{name}" for name in modalities]].notna().any(axis=1)]
    if not len(kept):
        raise DatasetError(f"olives: none of its {len(samples)} samples has all files of an image there; set data.root")
    gone = f"{len(samples) - len(kept)} of {len(samples)} samples left out"
    notes += (f"{len(absent)} image files are missing ({min(absent)}{', ...' * (len(absent) > 1)}): {gone}",)
    for name in modalities:
        notes += count_note(kept[f"path_{name}"].isna(), f"samples lack the modality {name}: not all of its files are there")
    return kept, notes
