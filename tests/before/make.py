"""Writes `files/`: what medzoo left on disk before its folders were parted into rooms, and what it answered from it.

Run at commit 6892a7bd1ce326efea0828ba10d647c6db7a96c3 ("Counts of writes in the killing tests ..."), the last one with the old
folders, installed outside the tree; it calls nothing but the command line, `medzoo.load` and `medzoo.export.OnnxModel`:

    git worktree add /tmp/before 6892a7bd && pip install --no-deps --target /tmp/before_site /tmp/before
    PYTHONPATH=/tmp/before_site OMP_NUM_THREADS=1 python tests/before/make.py tests/before/files

Twice in a row it wrote the same bytes, but for the paths of source files that torch's exporter puts into an ONNX file.

Files of a later commit would prove nothing: do not write them anew to make a test pass. Networks are as narrow as they go, so
that a run is a few hundred kilobytes; plots, trackers' logs and states that nothing reads are left out.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PHANTOM = ["data=phantom", "data.size=32", "data.patients=40", "data.images_per_patient=3"]
SHORT = ["trainer.epochs=2", "trainer.batch_size=16", "trainer.trackers=[]"]
SCORED = ["evaluation.splits=[test]", "evaluation.replicates=10"]
NARROW = ["+model.arguments.channels=[4,4,4,8]", "+model.arguments.stem_width=4"]
CNN = ["model=cnn", "model.backbone=test_resnet", *NARROW]
VOLUMES = ["data.dims=3", "data.size=16"]
VIT = [
    "model=zach_vit", "+model.arguments.widths=[8,8]", "+model.arguments.head=[8]", "+model.arguments.heads=2",
    "+model.arguments.patch_size=8", "model.preprocess.size=32",
]  # fmt: skip
LISTED = [
    "model.bottleneck.concepts=signs.yaml", "model.bottleneck.penalty=0.3", "model.bottleneck.filter.class_similarity=1.01",
    "model.bottleneck.filter.concept_similarity=1.01",
]  # fmt: skip

RUNS: dict[str, list[str]] = {
    "multiclass": CNN,
    "binary": [*CNN, "data.labels=binary"],
    "multilabel": [*VIT, "data.labels=multilabel"],
    "regression": [*CNN, "data.labels=regression"],
    "corn": [*CNN, "data.labels=ordinal", "loss=corn"],
    "cumulative": [*CNN, "data.labels=ordinal", "loss=cumulative"],
    "neighbours": [*CNN, "model.neighbours=3"],
    "volume": [*VOLUMES, "model=cnn3d", "+model.arguments.width=0.02"],
    "slices": [*VOLUMES, "model=slices", "model.backbone=test_resnet", *NARROW],
    "cbm": ["model=cbm", "model.backbone=test_resnet", *NARROW, "model.bottleneck.residual=true"],
    "cbm_posthoc": ["model=cbm_posthoc", "model.backbone=multiclass"],
    "clip": ["model=clip", "model.backbone=local-dir:pair", "model.captions=labels", "loss=siglip"],
    "clip_image": ["model=clip_image", "model.backbone=clip", "trainer.finetune=linear"],
    "cbm_language": ["model=cbm_language", "model.backbone=clip", *LISTED],
}
UNTRAINED = ("cbm_posthoc", "cbm_language", "neighbours")
"""Runs that take no epochs."""
NO_GRAPH = ("binary", "slices", "clip_image")
"""Runs whose graph is much like another's: not exported, to keep the files small."""
TEXTS: dict[str, list[str]] = {
    "compare": ["compare", "multiclass", "neighbours"],
    "intervene": ["intervene", "run=cbm", "replicates=10"],
    "explain": ["explain", "run=cbm"],
    "zeroshot": ["zeroshot", *PHANTOM, "trained=clip", "run=zeroshot", *SCORED],
    "photos": ["zeroshot", "trained=clip", "images=[photos]", "classes=[mass,cyst]", "json=true"],
    "search": ["search", "clip/embeddings.parquet", "--like", "patient-00003/image-00"],
    "predict": ["predict", "multiclass/model.onnx", "photos", "--json"],
}
"""Commands whose printed lines are kept, in this order, after the runs."""
SIGNS = """\
name: signs
version: "1"
source: made up
templates: ["a scan with {}"]
concepts:
  mass: {texts: [a mass, one nodule], column: lesion}
  grain: {texts: [bright grain], column: bright spots, group: texture}
  ring: {texts: [a dark ring], group: texture}
"""
CLASSES = {"mass": ["a scan with a mass", "one mass"], "normal": ["a normal scan"]}
UNREAD = ("plots", "tensorboard", "samples", "state", "checkpoints/last", "checkpoints/*-last*", "explanations")


def medzoo(*arguments: str) -> str:
    """Run a command here and return what it printed."""
    from medzoo.cli import main as command

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = command(arguments)
    assert status == 0, arguments
    return printed.getvalue()


def write_pair(folder: Path) -> None:
    """Write an open_clip folder: a transformer over patches, a Hugging Face text tower with a vocabulary of its own."""
    import torch
    from open_clip.model import CustomTextCLIP
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertTokenizerFast

    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["a", "of", "scan", "image", "with", "no", "phantom", "mass", "cyst", "normal", "tumour", "nodule", "synthetic"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters[1:], *".,:-", *(f"##{c}" for c in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    BertTokenizerFast(tokenizer_object=backend, **named).save_pretrained(folder)
    text = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(text.to_dict()))
    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "mlp_ratio": 2.0, "patch_size": 8, "image_size": 32},
        "text_cfg": {
            "hf_model_name": folder.name, "hf_tokenizer_name": folder.name, "hf_proj_type": "mlp",
            "hf_pooler_type": "mean_pooler", "context_length": 32,
        },
    }  # fmt: skip
    preprocess = {"size": 32, "mean": [0.4] * 3, "std": [0.25] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    model = CustomTextCLIP(**{**config, "text_cfg": {**config["text_cfg"], "hf_model_pretrained": False}})
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors")


def write_photos(folder: Path) -> None:
    """Write PNG files of several sizes, of two classes."""
    rng = np.random.default_rng(0)
    for number in range(8):
        place = folder / ("mass" if number % 2 else "cyst") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24 + 3 * number, 40 - 2 * number), dtype=np.uint8)).save(place)


def write_interrupted(run: Path) -> None:
    """Train a run to its end, and the same one until the state of its sixth step is there; then kill it."""
    settings = ["train", *PHANTOM, *CNN, *SHORT, "trainer.epochs=4", "trainer.save_every=1", "evaluate=false"]
    medzoo(*settings, "run=whole")
    process = subprocess.Popen([sys.executable, "-m", "medzoo", *settings, f"run={run}"], stdout=subprocess.DEVNULL)
    latest = run / "state" / "latest"
    while not latest.is_file() or int(latest.read_text().split("-")[1]) < 6:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    progress = json.loads((run / "state" / latest.read_text().strip() / "state.json").read_text())["progress"]
    print("interrupted at", progress)
    assert not progress["finished"], "the run was done before it could be killed: try again"
    shutil.copyfile("whole/history.csv", "interrupted.csv")
    shutil.rmtree("whole")


def images_of(run: str) -> list[Any]:
    """Return what a run is asked about: three photographs, or three volumes."""
    if run in ("volume", "slices"):
        return list(np.random.default_rng(1).integers(0, 255, (3, 14, 18, 17, 1), dtype=np.uint8))
    return [f"photos/{name}.png" for name in ("cyst/0", "mass/1", "cyst/2")]


def ask(run: str) -> dict[str, Any]:
    """Return a run's answers in torch, and those of each of its ONNX files, by name."""
    import medzoo as package
    from medzoo.export import OnnxModel

    model = package.load(run)
    found = {f"torch/{name}": values for name, values in model.predict(images_of(run)).items()}
    if run != "clip":
        found["torch/features"] = model.features(images_of(run))
    text = Path(run) / "text.onnx"
    vectors = OnnxModel(text).class_embeddings(CLASSES) if text.is_file() else None
    for file in sorted(Path(run).glob("*.onnx")):
        if file == text:
            found["text/class_embeddings"] = vectors
            continue
        given = {"class_embeddings": vectors} if file.stem == "zeroshot_open" else {}
        found |= {f"{file.stem}/{name}": values for name, values in OnnxModel(file).predict(images_of(run), **given).items()}
    return found


def write_all() -> None:
    """Write everything into the working directory."""
    write_pair(Path("pair"))
    write_photos(Path("photos"))
    Path("signs.yaml").write_text(SIGNS)
    answers: dict[str, Any] = {}
    for run, settings in RUNS.items():
        short = [word for word in SHORT if run not in UNTRAINED or not word.startswith("trainer.epochs")]
        medzoo("train", *PHANTOM, *short, *SCORED, *settings, f"run={run}")
        medzoo("evaluate", f"run={run}", *SCORED)
        if run not in NO_GRAPH:
            medzoo("export", f"run={run}", "images=8")
        answers |= {f"{run}/{name}": values for name, values in ask(run).items()}
        print("made", run, flush=True)
    np.savez_compressed("answers.npz", **answers)
    for name, words in TEXTS.items():
        Path(f"{name}.txt").write_text(medzoo(*words))
    medzoo("prepare", "data=folder", "data.root=photos", "size=16", "output=packed")
    write_interrupted(Path("interrupted"))


def main(target: Path) -> None:
    """Write everything into a folder of its own, and copy what is read."""
    import medzoo as package

    print("with", package.__file__)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # no file shall name a place of this machine
        write_all()
        for path in [path for run in (*RUNS, "zeroshot") for pattern in UNREAD for path in Path(run).glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree("pair")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(".", target)
        os.chdir("/")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
