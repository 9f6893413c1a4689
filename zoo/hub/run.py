"""What goes into a run's bundle: the checkpoint, what belongs to these very weights, and what is written about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medzoo.data.errors import CheckpointError
from medzoo.data.registry import PLACES
from medzoo.data.splits.learnt_from import FILE as RECORD
from medzoo.hub.card import model_card, read_facts
from medzoo.hub.licences import Licence, chain
from medzoo.hub.sbom import bill_of_materials
from medzoo.models.plain_configs import OPEN_CLIP_FILE, OPEN_CLIP_WEIGHTS, TIMM_FILE, plain_configs
from medzoo.store.checkpoint import ASSETS, CONFIG, SPEC, WEIGHTS, find_checkpoint, weights_checksum
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.load import load_checkpoint

CARD, LICENCES, BILL = "README.md", "licences.json", "sbom.cdx.json"
LOADERS = {TIMM_FILE: "timm", OPEN_CLIP_FILE: "open_clip"}
"""Configuration file of another library → its name."""


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle.

    Attributes:
        copied: Path in it → a file of the run.
        made: Path in it → content.
        spec: Of the model.
        weights: SHA-256 of its weights.
        licences: Of what it comes from.
        notes: What the user should know before it is shared.
    """

    copied: Mapping[str, Path]
    made: Mapping[str, bytes]
    spec: ModelSpec
    weights: str
    licences: list[Licence]
    notes: list[str]


def contents_of(run: RunDirectory, checkpoint: str, licence: str | None, *, record: bool = False) -> Contents:
    """Gather what a run's bundle holds, beside exported files.

    Args:
        run: Its directory.
        checkpoint: `best` or `last`.
        licence: Under which it is shared.
        record: Take the record of what was learnt from along: hashes of samples and patients, which can be guessed at.

    Raises:
        CheckpointError: If a file is missing or damaged.
    """
    folder = find_checkpoint(run.path, checkpoint)
    task, weights, spec = load_checkpoint(folder), weights_checksum(folder), ModelSpec.read(folder / SPEC)
    notes: list[str] = []
    copied = {name: folder / name for name in (WEIGHTS, SPEC)}
    copied |= {
        f"{ASSETS}/{path.name}": path for path in sorted((folder / ASSETS).glob("*")) if path.is_file() and path.name != RECORD
    }
    if record and (run.path / ASSETS / RECORD).is_file():
        copied[f"{ASSETS}/{RECORD}"] = run.path / ASSETS / RECORD
    for path in (run.operating_points, run.calibration, run.conformal):
        if path.is_file():
            if _of_weights(path) in (None, weights):
                copied[path.name] = path
            else:
                notes.append(f"{path.name} is of other weights than the {checkpoint} checkpoint: left out")
    facts = read_facts(run, spec)
    of = (facts.report.get("details") or {}).get("weights")
    if run.metrics.is_file() and of in (None, weights):
        copied[run.metrics.name] = run.metrics
    elif run.metrics.is_file():
        raise CheckpointError(f"metrics.json is of other weights: medzoo evaluate run={run.path} checkpoint={checkpoint} first")
    configs = plain_configs(spec, task.model)
    if OPEN_CLIP_FILE in configs:
        copied[OPEN_CLIP_WEIGHTS] = folder / WEIGHTS
    links = chain(spec, facts.settings)
    made = {name: _json(content) for name, content in configs.items()}
    made[CONFIG] = _settings(run).encode("utf-8")
    made[LICENCES] = _json({"licence": licence, "comes from": [link.to_dict() for link in links]})
    made[BILL] = _json(bill_of_materials(spec, weights, links))
    made[CARD] = model_card(facts, licence, plain=[LOADERS[name] for name in configs]).encode("utf-8")
    named = [f"data.{name}={spec.data['options'][name]}" for name in PLACES if (spec.data.get("options") or {}).get(name)]
    if named:
        notes.append(f"spec.json, which is shared as it is, names folders of this machine: {', '.join(named)}")
    return Contents(copied, made, spec, weights, links, notes)


def _settings(run: RunDirectory) -> str:
    """Return the run's configuration without folders of this machine."""
    settings = run.settings()
    settings["data"] = {name: None if name in PLACES else value for name, value in settings["data"].items()}
    settings["run"] = None
    text: str = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return text


def _of_weights(path: Path) -> str | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove it, or evaluate the run again") from error
    weights = found.get("weights") if isinstance(found, dict) else None
    return weights if isinstance(weights, str) else None


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False).encode("utf-8")
