"""A run pushed and pulled: the same files, the same answers, and nothing that was changed on the way."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import safetensors.torch
import timm
import torch

import medzoo
from medzoo.cli import main
from medzoo.data.errors import CheckpointError
from medzoo.hub.bundle import read_bundle
from medzoo.models.trained import read_start
from medzoo.store.directory import MANIFEST
from tests.zoo.hub.made import untrained_run

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def bundle(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = copied(trained_run, tmp_path_factory.mktemp("pushed") / "run")
    folder = run.parent / "bundle"
    assert main(["push", f"run={run}", f"output={folder}", "licence=MIT"]) == 0
    return folder


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("*.onnx", "model.json", "state", "export*"))
    return to


def test_a_bundle_answers_as_its_run_does(bundle: Path, trained_run: Path) -> None:
    images = [np.random.default_rng(seed).integers(0, 256, (32, 32), dtype=np.uint8) for seed in range(3)]
    ours, theirs = medzoo.load(trained_run).predict(images), medzoo.load(f"local-dir:{bundle}").predict(images)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert read_start(bundle).spec.hash == medzoo.load(trained_run).spec.hash  # and training starts from it


def test_a_bundle_holds_what_belongs_to_it_and_no_folder_of_this_machine(bundle: Path) -> None:
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {
        "model.safetensors",
        "spec.json",
        "config.yaml",
        "metrics.json",
        "README.md",
        "licences.json",
        "sbom.cdx.json",
        MANIFEST,
    } == names
    assert str(bundle.parent) not in (bundle / "config.yaml").read_text()
    described = json.loads((bundle / "licences.json").read_text())
    assert described["licence"] == "MIT"
    assert {"of": "data phantom/multiclass", "licence": "CC0-1.0"} in described["comes from"]
    bill = json.loads((bundle / "sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    libraries = {entry["purl"] for entry in bill["components"] if entry["type"] == "library"}
    assert f"pkg:pypi/torch@{json.loads((bundle / 'spec.json').read_text())['versions']['torch']}" in libraries
    refs = [entry["bom-ref"] for entry in bill["components"]]
    assert len(set(refs)) == len(refs)
    assert set(bill["dependencies"][0]["dependsOn"]) == set(refs)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "spec.json").write_text("{}"), "spec.json is missing or not the file of its manifest"),
        (lambda folder: (folder / "config.yaml").unlink(), "config.yaml is missing"),
        (lambda folder: (folder / "more.json").write_text("{}"), "holds more.json, which its manifest does not name"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"\x80"), "a file that can run code"),
        (lambda folder: (folder / MANIFEST).unlink(), "it is no bundle"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "is damaged"),
        (lambda folder: (folder / MANIFEST).write_text('{"format": 9, "files": {}}'), "is of format 9"),
        (lambda folder: (folder / MANIFEST).write_text("[" * 100_000), "is damaged"),
        (lambda folder: (folder / MANIFEST).write_text('{"format": 1, "files": {}}'), "which its manifest does not name"),
    ],
)
def test_what_was_changed_is_not_loaded(bundle: Path, tmp_path: Path, spoil: object, message: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        medzoo.load(f"local-dir:{folder}")


class Hub:
    """The hub's client, over a folder: what was asked of it, and what it keeps."""

    def __init__(self, kept: Path) -> None:
        self.kept, self.asked, self.private = kept, [], True

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        self.asked.append(("create", repository, private, exist_ok))

    def model_info(self, repository: str, revision: str | None = None) -> SimpleNamespace:
        self.asked.append(("info", repository, revision))
        return SimpleNamespace(private=self.private, sha=COMMIT)

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, commit_message: str, allow_patterns: list[str], delete_patterns: list[str] = ()
    ) -> SimpleNamespace:
        for path in [path for path in self.kept.rglob("*") if path.is_file()]:
            if any(fnmatch(path.relative_to(self.kept).as_posix(), pattern) for pattern in delete_patterns):
                path.unlink()
        shutil.copytree(folder_path, self.kept, dirs_exist_ok=True)
        self.asked.append(("upload", repo_id, commit_message, tuple(allow_patterns)))
        return SimpleNamespace(oid=COMMIT)

    def snapshot_download(self, repository: str, *, revision: str, allow_patterns: list[str], local_dir: Path | None) -> str:
        self.asked.append(("download", repository, revision, tuple(allow_patterns)))
        if local_dir is not None:
            shutil.copytree(self.kept, local_dir)
        return str(local_dir or self.kept)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    found = Hub(tmp_path / "kept")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: found)
    monkeypatch.setattr("huggingface_hub.snapshot_download", found.snapshot_download)
    return found


def test_push_then_pull_gives_the_same_hash(
    trained_run: Path, tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained_run, tmp_path / "run")
    assert main(["push", f"run={run}", "repo=owner/name", "licence=MIT"]) == 0
    pushed = capsys.readouterr().out
    assert hub.asked[0] == ("create", "owner/name", True, True)  # private unless asked otherwise
    assert f"hf-hub:owner/name@{COMMIT}" in pushed
    assert main(["pull", "owner/name", "--output", str(tmp_path / "pulled")]) == 0
    pulled = capsys.readouterr().out
    (own,) = [line for line in pushed.splitlines() if line.startswith("bundle ")]
    assert own in pulled.splitlines()
    assert f"commit {COMMIT}" in pulled
    assert "data phantom/multiclass: CC0-1.0" in pulled
    asked = [entry for entry in hub.asked if entry[0] == "download"]
    assert {revision for _, _, revision, _ in asked} == {COMMIT}  # what is no commit is turned into one first
    assert not [pattern for *_, patterns in asked for pattern in patterns if pattern.endswith((".bin", ".pt", ".pkl", "*"))][1:]
    assert main(["pull", "owner/name", "--revision", COMMIT]) == 0
    assert hub.asked[-1][2] == COMMIT
    assert hub.asked[-2][0] == "download"  # a commit is not asked about
    assert medzoo.load(f"hf-hub:owner/name@{COMMIT}").spec.hash == medzoo.load(run).spec.hash


def test_a_second_push_leaves_nothing_of_the_first(trained_run: Path, tmp_path: Path, hub: Hub) -> None:
    run = copied(trained_run, tmp_path / "run")
    (run / "operating_points.json").write_text("{}")
    assert main(["push", f"run={run}", "repo=owner/name", "licence=MIT"]) == 0
    (hub.kept / "figure.png").write_bytes(b"of somebody else")
    (run / "operating_points.json").unlink()
    assert main(["push", f"run={run}", "repo=owner/name", "licence=MIT"]) == 0
    (hub.kept / "figure.png").unlink()  # which is of no kind that a bundle has, and stayed
    assert main(["pull", "owner/name", "--output", str(tmp_path / "pulled")]) == 0


def test_a_card_finished_by_hand_is_pushed_and_not_written_over(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained_run, tmp_path / "run")
    assert [main(["card", f"run={run}"]), main(["card", f"run={run}"])] == [0, 0]
    card = run / "README.md"
    card.write_text(card.read_text() + "By hand: the clinical problem.\n")
    assert main(["card", f"run={run}"]) == 2
    assert "may be finished by hand" in capsys.readouterr().err
    assert main(["push", f"run={run}", f"output={tmp_path / 'without'}"]) == 0
    assert f"note: {card} stays behind" in capsys.readouterr().out
    assert main(["push", f"run={run}", f"output={tmp_path / 'with'}", f"card={card}"]) == 0
    assert (tmp_path / "with" / "README.md").read_bytes() == card.read_bytes()
    assert read_bundle(tmp_path / "with").files["README.md"]
    assert main(["push", f"run={run}", f"output={tmp_path / 'none'}", "card=none.md"]) == 2
    assert "no card at none.md" in capsys.readouterr().err
    assert main(["card", f"run={run}", f"output={tmp_path}"]) == 2
    assert "is a folder: give a file" in capsys.readouterr().err


def test_a_bundle_is_written_at_a_free_place(
    bundle: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained_run, tmp_path / "run")
    (tmp_path / "file").touch()
    for place, message in (
        (tmp_path / "file", "is a file: give a folder"),
        (bundle, "is not empty"),
        (bundle / "deeper", "is a bundle"),
    ):
        assert main(["push", f"run={run}", f"output={place}"]) == 2
        assert message in capsys.readouterr().err
    assert read_bundle(bundle).files


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["repo=owner/name"], "say under which licence"),
        (["repo=name", "licence=MIT"], "'name' is no repository: owner/name"),
        ([], "say where to"),
        (["repo=owner/name", "licence=MIT", "checkpoint=nine"], "no 'nine' checkpoint"),
    ],
)
def test_what_cannot_be_pushed(
    trained_run: Path, tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["push", f"run={copied(trained_run, tmp_path / 'run')}", *words]) == 2
    assert message in capsys.readouterr().err
    assert not [entry for entry in hub.asked if entry[0] == "upload"]


def test_a_public_repository_is_not_pushed_to_by_mistake(
    trained_run: Path, tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.private = False
    assert main(["push", f"run={copied(trained_run, tmp_path / 'run')}", "repo=owner/name", "licence=MIT"]) == 2
    assert "owner/name is public already" in capsys.readouterr().err
    assert not hub.kept.exists()


def test_what_the_hub_says_is_one_line(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline, as all tests are."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert main(["pull", "owner/name", "--revision", COMMIT]) == 2
    assert "owner/name cannot be fetched" in capsys.readouterr().err


def test_an_exported_file_goes_along_with_its_proof_alone(
    trained_run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained_run, tmp_path / "run")
    for name in ("model.onnx", "model.json"):
        shutil.copyfile(exported.with_name(name), run / name)
    assert main(["push", f"run={run}", f"output={tmp_path / 'whole'}"]) == 0
    assert {"model.onnx", "model.json"} <= set(read_bundle(tmp_path / "whole").files)
    weights = next(run.glob("checkpoints/epoch-*/model.safetensors"))
    tensors = safetensors.torch.load_file(weights)
    for file in run.glob("checkpoints/epoch-*/model.safetensors"):
        safetensors.torch.save_file({name: tensor * 2 for name, tensor in tensors.items()}, file)
    (run / "metrics.json").unlink()
    assert main(["push", f"run={run}", f"output={tmp_path / 'other'}"]) == 2
    assert "is of other weights than the checkpoint" in capsys.readouterr().err
    content = bytearray((run / "model.onnx").read_bytes())
    content[5000] ^= 1
    (run / "model.onnx").write_bytes(content)
    assert main(["push", f"run={run}", f"output={tmp_path / 'spoilt'}"]) == 2


@pytest.mark.parametrize(
    "model",
    [
        {"family": "cnn", "backbone": "test_resnet", "arguments": {}},
        {"family": "vit", "backbone": "test_vit", "arguments": {"init_values": 0.1}},
    ],
    ids=["cnn", "vit"],
)
def test_plain_timm_loads_the_folder(tmp_path: Path, model: dict[str, object]) -> None:
    model = {**model, "small_stem": False}
    run = untrained_run(tmp_path / "run", **model)
    assert main(["push", f"run={run.path}", f"output={tmp_path / 'bundle'}"]) == 0
    ours = medzoo.load(run.path)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'bundle'}", pretrained=True).eval()
    images = torch.rand(2, ours.spec.preprocess.channels, *ours.spec.preprocess.size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours.task.model(images), atol=1e-6, rtol=0)
    config = timm.data.resolve_data_config(model=theirs)
    assert (tuple(config["mean"]), tuple(config["std"])) == (ours.spec.preprocess.mean, ours.spec.preprocess.std)
    assert config["crop_mode"] == "squash"


@pytest.mark.slow  # CLIP's tokenizer is described and compared on its probes
def test_plain_open_clip_loads_the_folder(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "run", family="clip", backbone="clip_tiny", pretrained=None)
    assert main(["push", f"run={run.path}", f"output={tmp_path / 'bundle'}"]) == 0
    task = medzoo.load(f"local-dir:{tmp_path / 'bundle'}").task
    theirs, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'bundle'}")
    images, texts = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)), ["a cyst", "a tumour, large"]
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'bundle'}")(texts)
    with torch.no_grad():
        found = theirs.eval()(images, tokens)[:2]
        for own, other in zip(task.model.eval()(images, torch.from_numpy(task.tokenizer(texts)))[:2], found, strict=True):
            torch.testing.assert_close(other, own, atol=1e-6, rtol=0)
    assert tuple(preprocess.transforms[-1].mean) == (0.5, 0.5, 0.5)
