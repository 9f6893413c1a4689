"""`medzoo card`: the model card of a run, as far as the run can write it."""

from __future__ import annotations

from pathlib import Path

from medzoo.data.errors import ConfigError
from medzoo.hub.card import card_summary, model_card, read_facts
from medzoo.hub.claims import claims
from medzoo.settings.verbs import CardConfig
from medzoo.store.directory import RunDirectory, refuse_bundle
from medzoo.store.storage import write_file


def main(config: CardConfig) -> None:
    """Run the command.

    Raises:
        ConfigError: If no run is named, or the card would be written into a bundle, at a folder, or over one finished by hand.
        CheckpointError: If it cannot be read.
    """
    if config.run is None:
        raise ConfigError("say which run's card to write: run=<run directory>")
    run = RunDirectory.open(Path(config.run))
    path = run.path / "README.md" if config.output is None else Path(config.output)
    refuse_bundle(path)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: give a file, such as output={path / 'README.md'}")
    facts = read_facts(run)
    card = model_card(facts, config.licence).encode("utf-8")
    if path.is_file() and path.read_bytes() != card:  # what was written into it by hand is nowhere else
        raise ConfigError(
            f"{path} is there, with another text, which may be finished by hand: give another output=, or remove it"
        )
    write_file(path, card)
    counts = card_summary(claims(facts))
    print(
        f"wrote {path}: {counts['answered']} items of MI-CLAIM and MI-CLAIM-GEN answered, {counts['to be written']} to be written"
    )
