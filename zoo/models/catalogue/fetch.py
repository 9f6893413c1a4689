"""Where the file of a card comes from: named by the user, the Hugging Face hub, or an address with a checksum."""

from __future__ import annotations

from pathlib import Path

from medzoo.data.download import file_checksum
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.extras import needed_for
from medzoo.models.catalogue.card import PREFIX, WeightsCard
from medzoo.models.weights_file import require_weights_file


def card_file(card: WeightsCard, path: str | None = None) -> Path:
    """Return the weights file of a card, fetched where nobody named one.

    Args:
        card: Of the catalogue.
        path: A file on this machine (model.checkpoint_path).

    Raises:
        ConfigError: If there is no such file, or none can be had by a program.
        CheckpointError: If it cannot be fetched, or is not the one that the card's checksum is of.
    """
    if path is not None:
        return require_weights_file(path)
    if card.pickled:
        raise ConfigError(
            f"{PREFIX}{card.name} is published as Python objects, which are not read: get it from {card.where}, convert it once "
            f"({card.convert}), and give model.checkpoint_path=<file.safetensors>"
        )
    if card.hub is not None and card.file is not None:
        return require_weights_file(fetch_from_hub(card.hub, card.file, card.revision, card.gated))
    if card.url is not None:
        return require_weights_file(_fetch(card, card.url))
    raise ConfigError(f"{PREFIX}{card.name} cannot be fetched by a program ({card.where}): give model.checkpoint_path=<its file>")


def fetch_from_hub(repository: str, file: str, revision: str | None = None, gated: bool = False) -> Path:
    """Fetch one file of a repository on the Hugging Face hub.

    Raises:
        CheckpointError: If it cannot be had; says what to do without a network.
    """
    with needed_for("the Hugging Face hub"):
        from huggingface_hub import hf_hub_download
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # the hub's client has many families of errors
        terms = f"accept its terms at https://huggingface.co/{repository} and log in (hf auth login), or " if gated else ""
        raise CheckpointError(
            f"{file} of {repository} cannot be fetched ({type(error).__name__}); {terms}give model.checkpoint_path=<local file>"
        ) from error


def _fetch(card: WeightsCard, url: str) -> Path:
    import pooch

    known = None if card.sha256 is None else f"sha256:{card.sha256}"
    try:
        path = Path(pooch.retrieve(url, known_hash=known, path=pooch.os_cache("medzoo"), fname=card.file))
    except Exception as error:  # requests', pooch's and the system's
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"{url} cannot be fetched ({type(error).__name__}: {reason}); give model.checkpoint_path=<local file>"
        ) from error
    if card.sha256 is not None and file_checksum(path, "sha256") != card.sha256:
        raise CheckpointError(f"{path} is not the file that zoo:{card.name} names (SHA-256 {card.sha256[:12]}...): remove it")
    return path
