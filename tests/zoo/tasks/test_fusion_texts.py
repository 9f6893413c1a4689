"""Text beside the images, from settings to answers: encoders of several kinds, loaded again, asked by name and from a table."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

import medzoo
from medzoo.cli import main
from medzoo.data.errors import CheckpointError, ConfigError, ImageError, UnknownNameError
from medzoo.data.registry import load_dataset
from medzoo.evaluation.predictions import Predictions
from medzoo.export import OnnxModel
from medzoo.settings.schema import FusionConfig, LossConfig, ModelConfig, TrainerConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.fusion import Fusion
from medzoo.tasks.setup.families import task_from_config
from tests.zoo.models.clip.clip_folder import write_folder

TINY = {"patients": 12, "size": 16, "texts": ["note"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("clip") / "tiny")


def built(note=None, texts=("note",), backbone="test_resnet", family="fusion", **options):
    fusion = FusionConfig(encoders={} if note is None else {"note": note}, width=16) if family == "fusion" else None
    dataset = load_dataset("phantom", **{**TINY, "texts": list(texts), **options})
    return task_from_config(ModelConfig(family=family, backbone=backbone, fusion=fusion), LossConfig(), dataset, 0)


def test_an_encoder_with_weights_is_kept_or_trained_and_rebuilt_from_what_is_saved(folder):
    task = built({"backbone": f"local-dir:{folder}", "frozen": True})
    assert isinstance(task, Fusion)
    about = task.spec.arguments["texts"]["note"]
    assert about["architecture"] == "local-dir:tiny"
    assert about["initial_weights"]["file"] == "open_clip_model.safetensors"
    assert task.spec.architecture == "test_resnet+local-dir:tiny"
    assert str(folder) not in task.spec.to_json()
    assert task.spec.data["texts"] == ["note"]
    task.freeze(TrainerConfig())
    text = task.model.encoders["note"]
    assert not any(p.requires_grad for p in text.tower.parameters())
    assert all(p.requires_grad for p in text.fc.parameters())
    again = Fusion.from_spec(ModelSpec.from_dict(json.loads(task.spec.to_json())), task.assets())
    again.model.load_state_dict(task.model.state_dict())
    samples = task.samples(load_dataset("phantom", **TINY), "test")
    batch = {"images": {name: image[None] for name, image in samples[0]["images"].items()}}
    batch["present"] = {name: there[None] for name, there in samples[0]["present"].items()}
    torch.testing.assert_close(again.eval().predict(batch)["logits"], task.eval().predict(batch)["logits"])
    with pytest.raises(CheckpointError, match="assets are missing or damaged"):
        Fusion.from_spec(task.spec, {})


@pytest.mark.parametrize(
    ("note", "options", "error", "said"),
    [
        ({"family": "cnn"}, {}, UnknownNameError, "unknown key 'family' of model.fusion.encoders.note, which is a text"),
        ({"frozen": True}, {}, ConfigError, "frozen=true would keep clip_tiny as random as it is"),
        ({"pretrained": True}, {}, ConfigError, "note.pretrained=True is no tag of open_clip's"),
        ({"arguments": {"context_length": 12}}, {}, ConfigError, "clip_tiny has a length of its own"),
        ({"arguments": {"lenght": 12}}, {}, UnknownNameError, "unknown key 'lenght'"),
        ({"backbone": "no/such/run"}, {}, ConfigError, "no/such/run: there is no run directory; train model=clip first"),
        ({"backbone": "clip_tony"}, {}, UnknownNameError, "did you mean 'clip_tiny'"),
        (None, {"family": "cnn"}, ConfigError, r"data.texts=\[note\]: model=cnn reads no text beside images and would ignore it"),
        (None, {"texts": ["nota"]}, UnknownNameError, "did you mean 'note'"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(note, options, error, said):
    with pytest.raises(error, match=said) as raised:
        built(note, **options)
    assert "\n" not in str(raised.value)


def test_a_text_that_training_lacks_and_a_run_of_no_text_are_refused(trained_run):
    dataset = load_dataset("phantom", **TINY)
    table = dataset.table.copy()
    table.loc[table["split"] == "train", "text.note"] = " "
    config = ModelConfig(family="fusion", backbone="test_resnet", fusion=FusionConfig())
    with pytest.raises(ConfigError, match="no sample of the train split has text 'note'"):
        task_from_config(config, LossConfig(), replace(dataset, table=table), 0)
    with pytest.raises(CheckpointError, match=r"is no image–text model \(cnn\), so that it has no text encoder"):
        built({"backbone": str(trained_run)})


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "run"
    options = [
        "data=phantom", "data.rule=xor", "data.size=16", "data.patients=32", "data.texts=[note]", "data.inputs=[flag]",
        "data.absent=0.2", "model=fusion", "model.backbone=test_resnet", "model.fusion.width=16",
        f"+model.fusion.encoders.note.backbone='local-dir:{folder}'", "trainer.epochs=1", "trainer.batch_size=16",
        "trainer.trackers=[]", "device=cpu", "evaluation.replicates=5",
    ]  # fmt: skip
    assert main(["train", *options, f"run={path}"]) == 0
    assert main(["export", f"run={path}", "images=4"]) == 0
    return path


@pytest.mark.slow
def test_what_was_trained_answers_by_name_and_from_a_table(run, tmp_path, capsys):
    model, file = medzoo.load(run), OnnxModel(run / "model.onnx")
    known = Predictions.read(run / "predictions.parquet").of_split("test")
    options = json.loads((run / "spec.json").read_text())["data"]["options"]
    dataset = load_dataset("phantom", **{key: value for key, value in options.items() if key != "name"})
    rows, whole = dataset.rows("test"), []
    for index in range(4):
        row = rows.iloc[index]
        pixels = dataset.reader.read(*(row[column] for column in dataset.reader.columns))
        sample = {"image": np.moveaxis(pixels, 0, -1), "note": row["text.note"], "inputs": {"flag": row["input.flag"]}}
        whole.append(sample)
    np.testing.assert_allclose(model.predict(whole)["logits"], known.logits[:4], rtol=1e-4, atol=1e-5)

    spread = float(model.predict(whole)["logits"].std())
    full = {"image": whole[0]["image"], "note": "Itching, worse at night.", "inputs": {"flag": 1}}
    for count in (1, 2, 3):
        for kept in combinations(full, count):
            sample = {name: full[name] for name in kept}
            difference = np.abs(model.predict([sample])["logits"] - file.predict([sample])["logits"])
            assert difference.max() <= 1e-3 * spread, kept
    other = {**full, "note": "Nothing was noticed."}
    assert np.abs(file.predict([full])["logits"] - file.predict([other])["logits"]).max() > 1e-3 * spread
    empty = {**full, "note": "  "}  # missing, as in a table
    without = {name: value for name, value in full.items() if name != "note"}
    np.testing.assert_array_equal(file.predict([empty])["logits"], file.predict([without])["logits"])
    for answer, error, said in (
        ({"note": 3}, ConfigError, "text 'note' is 3, which is no text"),
        ({"nota": "x"}, ConfigError, "did you mean 'note'"),
        ({"note": None}, ImageError, "nothing is given"),
    ):
        for asked in (model, file):
            with pytest.raises(error, match=said):
                asked.predict([answer])

    Image.fromarray(full["image"][..., 0]).save(tmp_path / "film.png")
    with (tmp_path / "rows.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["image", "note", "flag"], ["film.png", full["note"], "1"]])
    capsys.readouterr()
    command = ["predict", str(run / "model.onnx"), str(tmp_path / "film.png"), "--json", "--inputs", str(tmp_path / "rows.csv")]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)["probabilities"]
    np.testing.assert_allclose(list(said.values()), file.predict([full])["probabilities"][0], rtol=1e-4)


@pytest.mark.slow
def test_the_file_says_what_it_reads(run):
    report = json.loads((run / "model.json").read_text())
    assert report["modalities"]["sets"] == 7
    assert report["modalities"]["relative"] <= 1e-3
    part = json.loads((run / "metrics.json").read_text())["modalities"]
    assert list(part["there"]) == ["image", "note", "inputs"]
    assert ("only", "note") in [(one["kind"], one["name"]) for one in part["variants"]]
