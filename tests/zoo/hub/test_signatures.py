"""A signed bundle: verified before anything of it is read, by the publisher's key and no other."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import medzoo
from medzoo.cli import main
from medzoo.data.errors import CheckpointError, ConfigError
from medzoo.hub.bundle import read_bundle
from medzoo.store.directory import MANIFEST
from tests.zoo.hub.made import untrained_run

installed = importlib.util.find_spec("model_signing") is not None and importlib.util.find_spec("OpenSSL") is not None
pytestmark = pytest.mark.skipif(not installed, reason="the extra sign is not installed")


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    run = untrained_run(tmp_path / "run", family="cnn", backbone="test_resnet", small_stem=False)
    private, public = keys(tmp_path, "own")
    assert main(["push", f"run={run.path}", f"output={tmp_path / 'bundle'}", f"key={private}"]) == 0
    return tmp_path / "bundle", public


def test_a_signature_holds_and_is_asked_for(signed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, public = signed
    assert read_bundle(folder, str(public)).signed
    assert medzoo.load(f"local-dir:{folder}", key=str(public)).spec.architecture == "test_resnet"
    with pytest.raises(CheckpointError, match="is signed: give the publisher's public key"):
        medzoo.load(f"local-dir:{folder}")
    assert not read_bundle(folder, "none").signed
    with pytest.raises(CheckpointError, match="does not hold"):
        read_bundle(folder, str(keys(tmp_path, "other")[1]))
    with pytest.raises(ConfigError, match=r"other\.pem is no public key of an elliptic curve"):  # the private one
        read_bundle(folder, str(tmp_path / "other.pem"))


def test_what_was_changed_with_its_manifest_is_not_loaded(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    files = read_bundle(folder, str(public)).files
    (folder / "README.md").write_text("better than it is")
    manifest = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(manifest.replace(files["README.md"], hashlib.sha256(b"better than it is").hexdigest()))
    assert read_bundle(folder, "none").files["README.md"] != files["README.md"]  # the manifest alone would let it pass
    with pytest.raises(CheckpointError, match="does not hold"):
        read_bundle(folder, str(public))


def test_a_key_for_an_unsigned_bundle_and_no_key_at_all(
    signed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, public = signed
    (folder / "model.sig").unlink()
    with pytest.raises(CheckpointError, match="is not signed"):
        read_bundle(folder, str(public))
    assert main(["push", f"run={tmp_path / 'run'}", f"output={tmp_path / 'other'}", f"key={public}"]) == 2
    assert "is no private key" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
