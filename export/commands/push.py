"""`medzoo push`: a run as a bundle, in a folder or on the Hugging Face hub."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from medzoo.data.errors import ConfigError, ExportError
from medzoo.export.files.integrity import check, read_metadata
from medzoo.hub.bundle import require_free, write_bundle
from medzoo.hub.licences import check_licence
from medzoo.hub.repository import upload_bundle
from medzoo.hub.run import CARD, Contents, contents_of
from medzoo.hub.signatures import SIGNATURE, sign_bundle
from medzoo.settings.verbs import PushConfig
from medzoo.store.directory import RunDirectory


def main(config: PushConfig) -> None:
    """Run the command.

    Raises:
        ConfigError: If no run or no place is named, something is at the place, there is no such card, or a licence is in the way.
        CheckpointError: If the run cannot be read, or the hub refuses it.
        ExportError: If an exported file is of other weights or has no proof.
    """
    if config.run is None:
        raise ConfigError("say which run to push: run=<run directory>")
    run = RunDirectory.open(Path(config.run))
    if config.repo is None and config.output is None:
        raise ConfigError("say where to: repo=<owner/name> on the Hugging Face hub, output=<folder>, or both")
    if config.repo is not None and config.licence is None:
        raise ConfigError("say under which licence the model is shared: licence=<SPDX identifier>, or licence=other")
    if config.output is not None:
        require_free(Path(config.output))
    contents = _with_exports(run, contents_of(run, config.checkpoint, config.licence, record=config.record))
    contents = _with_card(run, contents, config.card)
    check_licence(contents.licences, config.licence, public=not config.private, checked=config.licences_checked)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle" if config.output is None else Path(config.output)
        bundle = write_bundle(folder, contents.copied, contents.made)
        if config.key is not None:
            try:
                sign_bundle(folder, Path(config.key).expanduser())
            except Exception:
                shutil.rmtree(folder)  # nothing unsigned is left where a signed one was asked for
                raise
        for note in contents.notes:
            print(f"note: {note}")
        if config.output is not None:
            print(f"wrote {folder} ({len(bundle.files)} files{', signed' * (folder / SIGNATURE).is_file()})")
        print(f"bundle {bundle.hash}")
        if config.repo is not None:
            commit = upload_bundle(folder, config.repo, private=config.private, message=config.message or f"bundle {bundle.hash}")
            seen = "private" if config.private else "public"
            print(f'pushed to {config.repo} ({seen}): medzoo.load("hf-hub:{config.repo}@{commit}")')


def _with_card(run: RunDirectory, contents: Contents, card: str | None) -> Contents:
    """Take a card that was finished by hand in place of the written one, or say that one lies in the run and stays there."""
    if card is None:
        if not (run.path / CARD).is_file():
            return contents
        note = f"{run.path / CARD} stays behind, a card is written anew: card={run.path / CARD} takes it as it is"
        return replace(contents, notes=[*contents.notes, note])
    path = Path(card).expanduser()
    if not path.is_file():
        raise ConfigError(f"no card at {card}; medzoo card run={run.path} writes one")
    return replace(contents, made={**contents.made, CARD: path.read_bytes()})


def _with_exports(run: RunDirectory, contents: Contents) -> Contents:
    """Add the exported files of a run that are whole, of these weights, and compared with torch."""
    copied = dict(contents.copied)
    for path in sorted(run.path.glob("*.onnx")):
        check(path)
        report = json.loads(read_metadata(path, "medzoo.report") or "{}")
        if "parity" not in report:
            raise ExportError(f"{path} has no proof: export it again with medzoo export run={run.path}, or remove it")
        if report.get("weights") != contents.weights:
            raise ExportError(f"{path} is of other weights than the checkpoint: medzoo export run={run.path}, or remove it")
        for file in (path, path.with_suffix(".json"), path.with_name(f"{path.name}.data")):
            if file.is_file():
                copied[file.name] = file
    return replace(contents, copied=copied)
