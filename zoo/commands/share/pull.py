"""`medzoo pull`: a bundle from the Hugging Face hub, pinned by its commit and checked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from medzoo.data.errors import CheckpointError
from medzoo.hub.bundle import read_bundle
from medzoo.hub.repository import download_bundle
from medzoo.hub.run import LICENCES


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="medzoo pull", description="Fetch a bundle of medzoo push and check every file of it.")
    parser.add_argument("repo", help="owner/name on the Hugging Face hub")
    parser.add_argument("--revision", help="a commit, branch or tag; default: what the main branch is now")
    parser.add_argument("--output", type=Path, help="folder to fetch into; default: the hub's own cache")
    parser.add_argument("--key", help="the publisher's public key (PEM), for a signed bundle; none: take it unverified")
    given = parser.parse_args(arguments)
    folder, commit = download_bundle(given.repo, given.revision, given.output)
    bundle = read_bundle(folder, given.key)
    print(f"{folder}\ncommit {commit}\nbundle {bundle.hash}{', signature verified' * bundle.signed}")
    for line in _licences(folder):
        print(line)
    print(f'medzoo.load("hf-hub:{given.repo}@{commit}"), or model.backbone={folder} to start from it')
    return 0


def _licences(folder: Path) -> list[str]:
    path = folder / LICENCES
    if not path.is_file():
        return ["licence: the bundle names none"]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        links = [f"  {link['of']}: {link['licence']}" for link in found["comes from"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {error}); fetch the bundle again") from error
    return [f"licence: {found.get('licence') or 'not stated'}; it comes from", *links]
