"""Signatures of a bundle by OpenSSF's model signing, with an elliptic-curve key: who gave it out, not only that it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.data.extras import needed_for

SIGNATURE = "model.sig"
UNVERIFIED = "none"
"""Given as a key: do not verify."""


def sign_bundle(folder: Path, key: Path) -> None:
    """Write a bundle's signature beside its files.

    Args:
        folder: The bundle, complete.
        key: A private key in PEM (`openssl ecparam -name prime256v1 -genkey -noout -out key.pem`).

    Raises:
        ConfigError: If there is no such key, or it is none.
    """
    signing, _, hashing = _library()
    if not key.is_file():
        raise ConfigError(f"no private key at {key}")
    config = signing.Config().use_elliptic_key_signer(private_key=key) if _usable(signing, key) else None
    assert config is not None
    config.set_hashing_config(_hashing(hashing, folder)).sign(folder, folder / SIGNATURE)


def verify_bundle(folder: Path, key: str | None) -> bool:
    """Check the signature of a bundle that bears one, before anything of it is read.

    Args:
        folder: The bundle.
        key: The public key's file (PEM); `none`: take it unverified; None: none is known.

    Returns:
        Whether it was verified; false of a bundle without a signature.

    Raises:
        CheckpointError: If it is signed and no key is given, a key is given and it is not signed, or the signature is of another
            key or other files.
        ConfigError: If there is no such key, or it is none.
    """
    signature = folder / SIGNATURE
    if key == UNVERIFIED:
        return False
    if not signature.is_file():
        if key is not None:
            raise CheckpointError(f"{folder.name} is not signed: leave the key out, or take a signed bundle")
        return False
    if key is None:
        raise CheckpointError(
            f"{folder.name} is signed: give the publisher's public key (key=<file.pem>), or key={UNVERIFIED} to verify nothing"
        )
    path = Path(key).expanduser()
    if not path.is_file():
        raise ConfigError(f"no public key at {key}")
    _, verifying, hashing = _library()
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=path)
    except Exception as error:  # cryptography's errors; of the key, not of the bundle
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise ConfigError(f"{key} is no public key of an elliptic curve in PEM ({reason})") from error
    try:
        verifier.set_hashing_config(_hashing(hashing, folder)).verify(folder, signature)
    except Exception as error:  # cryptography's, the library's and those of a damaged file have no family
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CheckpointError(f"the signature of {folder.name} does not hold ({reason}): do not use these files") from error
    return True


def _usable(signing: Any, key: Path) -> bool:
    try:
        signing.Config().use_elliptic_key_signer(private_key=key)
    except Exception as error:  # cryptography's errors
        raise ConfigError(f"{key} is no private key of an elliptic curve ({type(error).__name__}: {error})") from error
    return True


def _hashing(hashing: Any, folder: Path) -> Any:
    """Everything but the signature itself and what a client keeps beside a download; files of a cache are links."""
    hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
    config = hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE, *hidden], ignore_git_paths=True)
    return config.set_allow_symlinks(True)


def _library() -> tuple[Any, Any, Any]:
    with needed_for("signatures"):
        from model_signing import hashing, signing, verifying
    return signing, verifying, hashing
