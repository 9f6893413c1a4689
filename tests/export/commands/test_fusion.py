"""The exported file of a model of several modalities: proven for every set of them, asked by name and from a table."""

from __future__ import annotations

import csv
import json
from itertools import product

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.data.errors import ConfigError, ExportError, ImageError, OnnxFileError, UnknownNameError
from medzoo.evaluation.predictions import Predictions
from medzoo.export import OnnxModel
from medzoo.export.commands.inputs_file import with_inputs
from medzoo.export.graph import subsets
from medzoo.export.graph.subsets import check_subsets
from medzoo.export.precision.validation import drawn as drawn_of
from medzoo.export.service.repository import write_repository
from medzoo.inference.predict import run_dataset
from medzoo.store.checkpoint import find_checkpoint
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.load import load_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(fusion_run, fusion_exported):
    return medzoo.load(fusion_run), OnnxModel(fusion_exported)


def drawn(count: int = 5) -> list[dict]:
    """Return samples of images of other sizes than the model's, and values."""
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (20, 17), dtype=np.uint8),
            "second": rng.integers(0, 256, (13 + n % 2, 16), dtype=np.uint8),
            "volume": rng.integers(0, 256, (9, 12, 11), dtype=np.uint8),
            "inputs": {"flag": n % 2, "value": 20 + 10 * n, "category": ("north", "south")[n % 2]},
        }
        for n in range(count)
    ]  # fmt: skip


def test_the_report_says_what_was_compared(fusion_exported):
    report = json.loads(fusion_exported.with_suffix(".json").read_text())
    assert report["modalities"]["sets"] == 15
    assert report["modalities"]["relative"] <= 1e-3
    assert report["metric"]["name"] == "auroc"
    about = json.loads(onnxruntime.InferenceSession(fusion_exported).get_modelmeta().custom_metadata_map["medzoo.modalities"])
    assert list(about["images"]) == ["image", "second", "volume"]
    assert about["inputs"]["categories"] == {"category": ["north", "south"]}


def test_file_and_torch_agree_for_every_set_of_modalities(models):
    torch_model, file = models
    samples, spread = drawn(), 0.0
    names = ["image", "second", "volume", "inputs"]
    whole = torch_model.predict(samples)["logits"]
    spread = float(whole.std())
    for kept in product((True, False), repeat=len(names)):
        if not any(kept):
            continue
        chosen = [{n: sample[n] for n, here in zip(names, kept, strict=True) if here} for sample in samples]
        ours, theirs = torch_model.predict(chosen)["logits"], file.predict(chosen, batch_size=2)["logits"]
        assert np.abs(ours - theirs).max() <= 1e-3 * spread, kept
    # Samples of which each lacks another, in one call; and streamed.
    mixed = [{n: v for n, v in sample.items() if n != names[place % 4]} for place, sample in enumerate(samples)]
    ours = torch_model.predict(mixed)["logits"]
    assert np.abs(ours - file.predict(mixed)["logits"]).max() <= 1e-3 * spread
    streamed = [found.outputs["logits"] for found in file.stream(iter(mixed), batch_size=2)]
    np.testing.assert_allclose(np.stack(streamed), ours, atol=1e-3 * spread)
    picture = samples[0]["image"]
    np.testing.assert_allclose(
        file.predict([picture])["logits"], torch_model.predict({"image": picture})["logits"], atol=1e-3 * spread
    )


def test_a_client_without_medzoo_may_leave_inputs_out(fusion_exported, models):
    session = onnxruntime.InferenceSession(fusion_exported)
    pixels = drawn(1)[0]["image"][None, ..., None]
    logits = session.run(["logits"], {"image": pixels})[0]
    np.testing.assert_allclose(logits, models[0].predict({"image": pixels[0]})["logits"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("sample", "error", "said"),
    [
        ({"imagge": "a.png"}, UnknownNameError, "sample 0: unknown modality 'imagge'; did you mean 'image'"),
        ({"inputs": {"category": "east"}}, UnknownNameError, "unknown category 'east' of input 'category'"),
        ({"inputs": {"value": "old"}}, ConfigError, "input 'value' is 'old', which is no number"),
        ({"image": None}, ImageError, "sample 0: nothing is given"),
        ({"image": "nowhere.png"}, ImageError, "sample 0: modality 'image': .*nowhere.png"),
    ],
)
def test_samples_that_cannot_be_are_one_line(models, sample, error, said):
    with pytest.raises(ConfigError if error is UnknownNameError else error, match=said) as raised:
        models[1].predict([sample])
    assert "\n" not in str(raised.value)


def test_a_table_gives_what_stands_beside_images(fusion_exported, models, tmp_path, capsys):
    samples, rows = drawn(3), []
    for place, sample in enumerate(samples):
        for name in ("image", "second"):
            Image.fromarray(sample[name]).save(tmp_path / f"{name}-{place}.png")
        second = f"second-{place}.png" if place else ""
        rows.append({"image": f"image-{place}.png", "second": second, **sample["inputs"]})
    rows[1]["value"] = ""
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    images = [str(tmp_path / f"image-{place}.png") for place in range(3)]
    assert main(["predict", str(fusion_exported), *images, "--inputs", str(tmp_path / "rows.csv"), "--json"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = [
        {k: v for k, v in sample.items() if k not in ("volume", *(["second"] if not p else []))}
        for p, sample in enumerate(samples)
    ]
    expected[1]["inputs"] = {k: v for k, v in expected[1]["inputs"].items() if k != "value"}
    found = models[1].predict(expected)["probabilities"]
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in said], found, rtol=1e-4)
    for text, message in (
        ("image,age\nimage-0.png,3\n", "unknown column 'age' in .*rows.csv"),
        ("image,value\nimage-1.png,3\n", "no row for .*image-0.png"),
        ("file,value\nimage-0.png,3\n", "has no column 'image'"),
        ("image,value\nimage-0.png,3\nimage-0.png,4\n", "2 rows for"),
    ):
        (tmp_path / "rows.csv").write_text(text)
        with pytest.raises(ConfigError, match=message):
            with_inputs([("image-0.png", tmp_path / "image-0.png")], tmp_path / "rows.csv", models[1].modalities)


def test_a_graph_that_differs_in_one_set_is_not_proven(fusion_run, monkeypatch):
    task = load_checkpoint(find_checkpoint(fusion_run))
    graph = task.deploy()
    rng = np.random.default_rng(0)
    rows = {name: default[0].numpy() for name, default in graph.optional_inputs.items()}
    images = [rng.integers(0, 256, (16, 16, 1), dtype=np.uint8) for _ in range(3)]

    class Other:
        """A session that is wrong where the second image alone is missing."""

        def run(self, names, feed):
            given = [feed.get(name, np.repeat(row[None], len(feed["image"]), 0)) for name, row in rows.items()]
            found = [out.detach().numpy() for out in graph(*(map(subsets.torch.from_numpy, [feed["image"], *given])))]
            return [
                value + (1 if name == "logits" and not feed["second_mask"].any() else 0)
                for name, value in zip(names, found, strict=True)
            ]

    with pytest.raises(ExportError, match="alone differ from torch"):
        check_subsets(graph, Other(), images, [{**rows, "image_mask": np.ones(1, np.float32)} for _ in images])


def test_triton_refuses_it(fusion_run, fusion_exported, capsys):
    with pytest.raises(OnnxFileError, match="takes several modalities a sample, which Triton cannot batch"):
        write_repository([fusion_exported], fusion_exported.parent / "triton")
    assert not (fusion_exported.parent / "triton").exists()
    before = fusion_exported.read_bytes()
    assert main(["export", f"run={fusion_run}", "target=triton"]) == 2
    assert "target=triton is for one image a request" in capsys.readouterr().err
    assert fusion_exported.read_bytes() == before


def test_what_a_gate_judges_by_has_all_modalities(fusion_run, fusion_exported):
    spec = ModelSpec.read(fusion_run / "spec.json")
    dataset = run_dataset(RunDirectory.open(fusion_run), {}, spec)
    images = drawn_of(load_checkpoint(find_checkpoint(fusion_run)).samples(dataset, "val"), None, 0)
    session = onnxruntime.InferenceSession(fusion_exported)
    known = Predictions.read(fusion_run / "predictions.parquet").of_split("val")
    np.testing.assert_allclose(images.run(session, ["logits"], {})["logits"], known.logits, rtol=1e-3, atol=1e-4)
    feeds = list(images.batches({"other": np.zeros(3)}))
    assert sum(len(feed["image"]) for feed in feeds) == len(known)
    masks = np.concatenate([feed["second_mask"] for feed in feeds])
    assert 0 < masks.sum() < len(masks)
    assert all(len(feed[name]) == len(feed["image"]) for feed in feeds for name in feed if name != "other")


def test_int8_is_refused(fusion_run, capsys):
    assert main(["export", f"run={fusion_run}", "precision=int8", "images=4"]) == 2
    assert "precision=int8 is calibrated on one image a sample" in capsys.readouterr().err
