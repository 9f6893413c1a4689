"""Bundles by address: `hf-hub:owner/name[@commit]`, `local-dir:folder`."""

from __future__ import annotations

from pathlib import Path

from medzoo.hub.bundle import Bundle, read_bundle
from medzoo.hub.repository import download_bundle

SCHEMES = ("hf-hub:", "local-dir:")


def is_address(name: str) -> bool:
    """Whether a name is the address of a bundle, and no path."""
    return name.startswith(SCHEMES)


def open_bundle(address: str, key: str | None = None) -> Bundle:
    """Return a bundle, fetched if it is on the hub, after all that can be checked of it was.

    Args:
        address: `hf-hub:owner/name`, with `@commit` or without, or `local-dir:folder`.
        key: A public key; see `medzoo.hub.signatures.verify_bundle`.

    Raises:
        CheckpointError: If it cannot be had, or a check fails.
    """
    scheme, _, place = address.partition(":")
    if scheme == "local-dir":
        return read_bundle(Path(place).expanduser(), key)
    repository, _, revision = place.partition("@")
    return read_bundle(download_bundle(repository, revision or None)[0], key)
