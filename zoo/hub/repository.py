"""The Hugging Face hub: bundles go there by commits and come back pinned by one. Everything that talks to it stands here."""

from __future__ import annotations

import re
from pathlib import Path

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.extras import needed_for

COMMIT = re.compile(r"[0-9a-f]{40}")
TAKEN = ["*.json", "*.safetensors", "*.onnx", "*.onnx.data", "*.yaml", "*.md", "*.sig", "assets/*"]
"""What is fetched; files of Python objects are not among it."""


def upload_bundle(folder: Path, repository: str, *, private: bool, message: str) -> str:
    """Push a bundle as one commit into a repository, which is made if there is none, and return the commit.

    Files of a bundle's kinds that are there and not in this one go with the same commit.

    Args:
        folder: The bundle.
        repository: `owner/name`.
        private: Whether a new repository is seen by its owner alone; one that is there already keeps what it is.
        message: Of the commit.

    Raises:
        ConfigError: If the name is none, or a public repository is there where a private one is asked for.
        CheckpointError: If the hub refuses it.
    """
    _check_name(repository)
    with needed_for("the Hugging Face hub"):
        from huggingface_hub import HfApi
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        there = api.model_info(repository)
        if private and there.private is False:
            raise ConfigError(f"{repository} is public already: say private=false if everyone may have this model")
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=message,
            allow_patterns=TAKEN,
            delete_patterns=TAKEN,  # what an earlier bundle had and this one has not: no manifest names it, so none would load
        )
    except ConfigError:
        raise
    except Exception as error:  # the client has many families of errors
        raise CheckpointError(
            f"{repository} cannot be pushed to ({type(error).__name__}: {' '.join(str(error).split())[:120]}); log in with "
            "hf auth login, or write the bundle alone with output=<folder>"
        ) from error
    return str(commit.oid)


def download_bundle(repository: str, revision: str | None = None, output: Path | None = None) -> tuple[Path, str]:
    """Fetch a bundle and return its folder and the commit it is of.

    Args:
        repository: `owner/name`.
        revision: A commit, branch or tag; None: the main branch. What is not a commit is turned into one first.
        output: Folder to fetch into; None: the hub's own cache.

    Raises:
        ConfigError: If the name is none.
        CheckpointError: If it cannot be had.
    """
    _check_name(repository)
    with needed_for("the Hugging Face hub"):
        from huggingface_hub import HfApi, snapshot_download
    try:
        commit = revision if revision is not None and COMMIT.fullmatch(revision) else None
        if commit is None:
            commit = str(HfApi().model_info(repository, revision=revision).sha)
        folder = snapshot_download(repository, revision=commit, allow_patterns=TAKEN, local_dir=output)
    except Exception as error:  # the client has many families of errors
        raise CheckpointError(
            f"{repository} cannot be fetched ({type(error).__name__}: {' '.join(str(error).split())[:120]}); without a network "
            "give local-dir:<folder>"
        ) from error
    return Path(folder), commit


def _check_name(repository: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"{repository!r} is no repository: owner/name")
