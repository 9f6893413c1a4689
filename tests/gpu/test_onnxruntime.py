"""Exported files on ONNX Runtime's CUDA provider: float32, fp16 and int8; tensors in place; `predict` and `bench`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.data.errors import ImageError, ProviderError
from medzoo.evaluation.bootstrap import NO_INTERVAL
from medzoo.export.precision.gate import check_gate
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.settings import GateLimits
from tests.gpu.families import ONE_FILE, SMOOTH, Trained, distance, distances, images_of, samples_of, within

pytestmark = pytest.mark.usefixtures("cuda_provider")

FLOAT32 = 1e-3
"""Sums in another order, over all layers of a network."""
TF32 = 1e-2
"""11 binary digits, 0.05%, rounded once a layer: torch's convolutions on a GPU, and the CUDA provider's products if asked for."""
INT8 = 0.1
"""Between providers: the processor adds up whole numbers, the GPU their float32 values, and a value near the middle of two of 256
steps goes to either."""
LOOSE = {"loss": 0.2, "kappa_loss": 0.2, "agreement": 0.5, "probability_change": 0.2, "mean_change": 1.0, "overlap": 0.5}
"""Two epochs answer near their ties: how much a reduced file loses is told, and hardly judged."""
TEXTS = {"cyst": ["a cyst", "a phantom with a cyst"], "normal": ["no lesion"], "tumour": ["a tumour"]}


@pytest.mark.parametrize("family", [family for family in SMOOTH if family in ONE_FILE])
def test_float32_files_answer_as_torch_and_as_the_cpu_provider(trained: Trained, cuda_provider: str, family: str) -> None:
    run = trained(family)
    images = images_of(run)
    found = OnnxModel(run / "model.onnx", provider=cuda_provider).predict(images, batch_size=7)
    by_cpu = OnnxModel(run / "model.onnx").predict(images)
    by_torch = medzoo.load(run).predict(images)
    assert max(distances(found, by_cpu).values()) < within(FLOAT32, family)
    hasty = OnnxModel(run / "model.onnx", provider=cuda_provider, tf32=True).predict(images, batch_size=7)
    assert max(distances(hasty, by_cpu).values()) < within(TF32, family)
    assert max(distances(found, {name: by_torch[name] for name in found}).values()) < within(TF32, family)


def test_a_vote_of_neighbours_runs_too(trained: Trained, cuda_provider: str) -> None:
    """Votes are steps: with TF32, which ONNX Runtime would use by itself, three of four images had other neighbours."""
    run = trained("neighbours")
    images = images_of(run)
    models = (OnnxModel(run / "model.onnx", provider=provider) for provider in (cuda_provider, "cpu"))
    found, reference = (model.predict(images)["probabilities"] for model in models)
    assert (np.abs(found - reference).max(axis=1) < 1e-3).mean() > 0.5


@pytest.mark.parametrize("family", ["clip", "clip_bert", "clip_volumes"])
def test_towers_and_classifiers_of_images_and_text(trained: Trained, cuda_provider: str, family: str) -> None:
    run = trained(family)
    images = images_of(run, 12)

    def answers(provider: str) -> dict[str, NDArray[Any]]:
        names = ("image", "text", "zeroshot", "zeroshot_open")
        models = {name: OnnxModel(run / f"{name}.onnx", provider=provider) for name in names}
        vectors = models["text"].class_embeddings(TEXTS)
        opened = models["zeroshot_open"].predict(images, class_embeddings=vectors)
        closed = models["zeroshot"].predict(images)
        return {
            **models["image"].predict(images), "vectors": vectors, "opened": opened["logits"], "closed": closed["logits"],
        }  # fmt: skip

    assert max(distances(answers(cuda_provider), answers("cpu")).values()) < TF32


def test_corrected_concepts_count_on_the_card(trained: Trained, cuda_provider: str) -> None:
    run = trained("cbm")
    images = images_of(run, 6)
    ours, theirs = OnnxModel(run / "model.onnx"), OnnxModel(run / "model.onnx", provider=cuda_provider)
    values = {ours.concepts[0]: 1.0, ours.concepts[1]: 0.0}
    found = theirs.predict(images, concept_values=values)
    assert distance(found["logits"], ours.predict(images, concept_values=values)["logits"]) < TF32
    assert distance(found["logits"], theirs.predict(images)["logits"]) > TF32


def reduced(run: Path, folder: Path, precision: str) -> Path:
    """Export a run at a precision; returns the file."""
    path = folder / f"model.{precision}.onnx"
    gates = [f"gate.{name}={value}" for name, value in LOOSE.items()]
    calibration = ["calibration.images=32"] if precision == "int8" else []
    words = ["images=8", "gate.replicates=5", *calibration, *gates, f"precision={precision}", f"output={path}"]
    assert main(["export", f"run={run}", *words]) == 0
    return path


@pytest.mark.parametrize("family", ["cnn", "vit", "cnn3d", "slices"])
def test_an_fp16_file_loses_on_the_card_what_its_gate_has_written(
    trained: Trained, cuda_provider: str, family: str, tmp_path: Path
) -> None:
    """The gate judges it on the CPU provider, which computes in float32 between fp16 values; the GPU computes in fp16."""
    run = trained(family)
    path, samples, images = reduced(run, tmp_path, "fp16"), samples_of(run, "val"), images_of(run, 1000, "val")
    model = OnnxModel(path, provider=cuda_provider)
    found, reference = model.predict(images)["logits"], OnnxModel(run / "model.onnx").predict(images)["logits"]
    groups = [str(group) for group in samples.rows["group"]]
    assert model.labels is not None
    assert samples.targets is not None
    limits = GateLimits(**LOOSE)
    gate = check_gate(model.labels, samples.targets, groups, reference, found, limits=limits, interval=NO_INTERVAL)
    assert gate.passed, gate.reason
    recorded = json.loads({entry.key: entry.value for entry in onnx.load(path).metadata_props}["medzoo.report"])["gate"]["logits"]
    assert recorded["samples"] == gate.samples
    assert [loss.reference for loss in gate.losses] == pytest.approx([loss["reference"] for loss in recorded["losses"]], abs=0.01)
    changes = {alike.metric: alike.value for alike in gate.likeness}
    written = {alike["metric"]: alike["value"] for alike in recorded["likeness"]}
    assert changes["probability_change"] < written["probability_change"] + 0.01


@pytest.mark.parametrize("family", ["cnn", "vit"])
def test_an_int8_file_answers_on_the_card_as_on_the_cpu(
    trained: Trained, cuda_provider: str, family: str, tmp_path: Path
) -> None:
    run = trained(family)
    images = images_of(run)
    path = reduced(run, tmp_path, "int8")
    found, by_cpu = (OnnxModel(path, provider=provider).predict(images)["logits"] for provider in (cuda_provider, "cpu"))
    assert distance(found, by_cpu) < INT8


def batch_of(run: Path, count: int) -> torch.Tensor:
    return torch.from_numpy(np.stack(images_of(run, count)))


def test_a_tensor_on_the_card_is_read_and_answered_there(
    trained: Trained, card: str, cuda_provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("cnn")
    model, batch = OnnxModel(run / "model.onnx", provider=cuda_provider), batch_of(run, 8)
    reference = OnnxModel(run / "model.onnx").predict(batch)["logits"]
    tensor = batch.to(card)
    with monkeypatch.context() as patched:  # by its address: nothing comes back to the host on the way
        for name in ("cpu", "numpy", "__array__", "tolist"):
            patched.setattr(torch.Tensor, name, lambda *_, **__: pytest.fail("the tensor was copied"))
        for size in (8, 3):  # a smaller batch after a larger one: outputs take their own shape
            outputs = model.run_batch(tensor[:size])
            shared = {name: torch.from_dlpack(value) for name, value in outputs.items()}
            assert {value.device.type for value in shared.values()} == {card}
            again = torch.from_dlpack(outputs["logits"])
            assert again.data_ptr() == shared["logits"].data_ptr()  # shared, not copied
            assert shared["logits"].shape[0] == size
            kept = shared["logits"].clone()
    assert distance(kept.cpu().numpy(), reference[:3]) < TF32
    assert distance(outputs["logits"].numpy(), reference[:3]) < TF32
    assert distance(model.predict(tensor, batch_size=3)["logits"], reference) < TF32


def test_what_another_stream_still_writes_is_waited_for(trained: Trained, card: str, cuda_provider: str) -> None:
    """A batch that torch has queued and not yet computed, on a stream of its own."""
    run = trained("cnn")
    model, batch = OnnxModel(run / "model.onnx", provider=cuda_provider), batch_of(run, 8)
    reference = OnnxModel(run / "model.onnx").predict(batch)["logits"]
    black, source = torch.zeros_like(batch, device=card), batch.to(card)
    assert distance(model.run_batch(black)["logits"].numpy(), reference) > TF32
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)  # some 50 ms on the card; the copy stands behind it
        black.copy_(source)
        outputs = model.run_batch(black)
    assert distance(outputs["logits"].numpy(), reference) < TF32


def test_tensors_of_another_kind_or_place_are_one_line(trained: Trained, card: str, cuda_provider: str) -> None:
    run = trained("cnn")
    model, batch = OnnxModel(run / "model.onnx", provider=cuda_provider), batch_of(run, 4)
    with pytest.raises(ProviderError, match="is a tensor on cpu, the model runs on cuda:0"):
        model.run_batch(batch)
    with pytest.raises(ProviderError, match="is a tensor on cuda:0, the model runs on cpu"):
        OnnxModel(run / "model.onnx").run_batch(batch.to(card))
    with pytest.raises(ImageError, match="is not this model's"):
        model.run_batch(batch.to(card).float())
    with pytest.raises(ImageError, match="contiguous"):
        model.run_batch(batch.to(card).transpose(1, 2))


def test_predict_on_the_command_line(
    trained: Trained, cuda_provider: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("cnn")
    for number, image in enumerate(images_of(run, 5)):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(tmp_path / f"{number}.png")
    said = []
    for words in ([], ["--provider", cuda_provider, "--device", "0"]):
        capsys.readouterr()
        assert main(["predict", str(run / "model.onnx"), str(tmp_path), "--json", "--batch-size", "2", *words]) == 0
        said.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert [line["image"] for line in said[0]] == [line["image"] for line in said[1]]
    for ours, theirs in zip(*said, strict=True):
        assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=TF32)


def test_bench_times_torch_and_onnxruntime_on_the_card(trained: Trained, cuda_provider: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained("cnn"), run)
    words = ["engines=[torch,onnxruntime]", "batch_sizes=[1,4]", "rounds=2", "min_seconds=0", "warm_up=1", "threads=1"]
    assert main(["bench", f"run={run}", f"provider={cuda_provider}", *words]) == 0
    report = json.loads((run / "bench.json").read_text())
    assert report["machine"]["gpu"] == torch.cuda.get_device_name(0)
    (subject,) = report["subjects"]
    for batch in subject["batches"]:
        assert batch["absent"] == {}
        found = {result["name"]: result for result in batch["results"]}
        assert set(found) == {"torch eager", "ONNX Runtime fp32"}
        assert all(result["median_seconds"] > 0 for result in found.values())
        assert found["ONNX Runtime fp32"]["agreement"]["cosine"] > 0.999
