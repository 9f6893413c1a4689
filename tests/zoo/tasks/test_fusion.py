"""A model of several modalities from settings to answers: trained, gone on with, loaded, asked by name; and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import medzoo
from medzoo.cli import main
from medzoo.data.dataset import input_matrix, presence
from medzoo.data.errors import ConfigError, ImageError, UnknownNameError
from medzoo.data.registry import load_dataset
from medzoo.evaluation.modalities.report import modalities_lines
from medzoo.evaluation.modalities.variants import Variants
from medzoo.evaluation.predictions import Predictions
from medzoo.inference.predict import run_dataset
from medzoo.report.modality_sections import modalities
from medzoo.settings.schema import DistillConfig, FusionConfig, LossConfig, ModelConfig, TrainerConfig
from medzoo.store.checkpoint import find_checkpoint, tensors_from_file
from medzoo.store.directory import RunDirectory
from medzoo.store.spec import ModelSpec
from medzoo.tasks.fusion import Fusion, shuffled
from medzoo.tasks.load import load_checkpoint
from medzoo.tasks.setup.families import task_from_config
from medzoo.tasks.setup.teacher import teach
from medzoo.train.loop import Trainer
from tests.conftest import FUSION

TINY = {"patients": 12, "size": 16}


def built(options, **config):
    fusion = FusionConfig(**config.pop("fusion", {"width": 16}))
    asked = ModelConfig(family="fusion", backbone="test_resnet", fusion=fusion, **config)
    return task_from_config(asked, LossConfig(), load_dataset("phantom", **{**TINY, **options}), seed=0)


@pytest.fixture(scope="module")
def data(fusion_run):
    spec = ModelSpec.read(fusion_run / "spec.json")
    return run_dataset(RunDirectory.open(fusion_run), {}, spec)


def samples_of(dataset, count):
    """Return the first samples of test as a user gives them."""
    rows, found = dataset.rows("test"), []
    values = input_matrix(rows, dataset.inputs)
    for index in range(count):
        sample = {}
        for name, reader in dataset.modalities.items():
            if presence(rows, reader)[index]:
                pixels = reader.read(*(rows[column].iloc[index] for column in reader.columns))
                sample[name] = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
        given = dict(zip(dataset.inputs.names, values[index].tolist(), strict=True))
        if not np.isnan(given["category"]):
            given["category"] = ("north", "south")[int(given["category"])]
        found.append({**sample, "inputs": given})
    return found


def test_the_spec_says_what_the_model_reads(fusion_run):
    spec = ModelSpec.read(fusion_run / "spec.json")
    assert list(spec.arguments["encoders"]) == ["image", "second", "volume"]
    assert spec.arguments["encoders"]["volume"]["family"] == "cnn3d"
    about = spec.arguments["inputs"]
    assert about["categories"] == {"category": ["north", "south"]}
    train = load_dataset("phantom", **_options(fusion_run)).rows("train")
    np.testing.assert_allclose(about["mean"][1], train["input.value"].mean(), rtol=1e-5)
    np.testing.assert_allclose(about["std"][1], train["input.value"].std(ddof=0), rtol=1e-5)
    assert spec.data["inputs"]["names"] == ["flag", "value", "category"]
    assert list(spec.data["modalities"]) == ["image", "second", "volume"]
    assert spec.preprocess == spec.preprocess_of("image")


def _options(run):
    options = RunDirectory.open(run).settings()["data"]
    return {name: value for name, value in options.items() if name != "name"}


def test_samples_by_name_are_answered_as_the_dataset_is(fusion_run, data):
    known = Predictions.read(fusion_run / "predictions.parquet").of_split("test")
    model = medzoo.load(fusion_run)
    given = samples_of(data, 8)
    found = model.predict(given, batch_size=5)
    np.testing.assert_allclose(found["logits"], known.logits[:8], rtol=1e-4, atol=1e-5)
    one = model.predict(given[0])
    np.testing.assert_allclose(one["probabilities"], found["probabilities"][:1], rtol=1e-4, atol=1e-5)
    picture = next(sample["image"] for sample in given if "image" in sample)
    alone = model.predict([picture])  # an image that is no mapping is the first modality's
    np.testing.assert_allclose(alone["logits"], model.predict({"image": picture})["logits"], rtol=1e-5, atol=1e-6)
    assert model.features(given).shape == (8, 16)


@pytest.mark.parametrize(
    ("sample", "error", "said"),
    [
        ({"imagge": "a.png"}, UnknownNameError, "unknown modality 'imagge'; did you mean 'image'"),
        ({"inputs": {"category": "east"}}, UnknownNameError, "unknown category 'east' of input 'category'"),
        ({"inputs": {"age": 3}}, UnknownNameError, "unknown input 'age'"),
        ({"inputs": {"value": "old"}}, ConfigError, "input 'value' is 'old', which is no number"),
        ({"image": None, "inputs": {}}, ImageError, "nothing is given"),
        ({"volume": np.zeros((4, 4), np.uint8)}, ImageError, "modality 'volume'"),
    ],
)
def test_samples_that_cannot_be_are_one_line(fusion_run, sample, error, said):
    with pytest.raises(error, match=said) as raised:
        medzoo.load(fusion_run).predict([sample])
    assert "\n" not in str(raised.value)


def test_each_modality_is_measured_without_the_others(fusion_run, data, capsys):
    part = json.loads((fusion_run / "metrics.json").read_text())["modalities"]
    names = ["image", "second", "volume", "inputs"]
    kinds = [(one["kind"], one["name"]) for one in part["variants"]]
    assert kinds == [
        *((kind, name) for name in names for kind in ("without", "only")),
        *(("shuffled", name) for name in ("flag", "value", "category")),
    ]
    variants = Variants.read(fusion_run / "modalities.parquet")
    rows = data.rows("test")
    assert part["there"]["second"] == int(presence(rows, data.modalities["second"]).sum())
    task = load_checkpoint(find_checkpoint(fusion_run))
    given = samples_of(data, 8)
    for name in names:
        less = [{key: value for key, value in sample.items() if key != name} for sample in given]
        kept = [p for p, sample in enumerate(less) if len(sample) > 1 or not all(map(_nan, sample.get("inputs", {}).values()))]
        found = medzoo.load(fusion_run).predict([less[place] for place in kept])["logits"]
        np.testing.assert_allclose(found, variants.logits["without", name, 0][:8][kept], rtol=1e-4, atol=1e-5)
    assert variants.details["spec"] == task.spec.hash
    lines = modalities_lines(part)
    assert len(lines) == 2 + len(kinds)
    assert "second alone" in "\n".join(lines)
    assert part["variants"][0]["difference"]["value"] == pytest.approx(
        part["variants"][0]["metric"]["value"] - part["all"]["value"]
    )
    section = modalities(json.loads((fusion_run / "metrics.json").read_text()))
    assert len(section.blocks[0].rows) == 1 + len(kinds)
    assert not modalities({}).blocks


def test_what_a_modality_brings_is_of_the_answers_that_the_report_is_of(fusion_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fusion_run, run)
    words = ["evaluation.calibration=isotonic", "evaluation.replicates=10", "device=cpu"]
    assert main(["evaluate", f"run={run}", *words]) == 0
    raw, report = (json.loads((path / "metrics.json").read_text()) for path in (fusion_run, run))
    part = report["modalities"]
    scored = report["splits"][part["split"]]["metrics"][part["metric"]]["value"]
    assert part["all"]["value"] == pytest.approx(scored)
    assert part["all"]["value"] != pytest.approx(raw["modalities"]["all"]["value"])


def _nan(value):
    return isinstance(value, float) and np.isnan(value)


def test_a_shuffled_input_keeps_its_gaps():
    values = torch.tensor([[1.0, 5], [torch.nan, 6], [3, 7], [4, torch.nan]])
    other = shuffled(values, 0, 0, "age", 1)
    assert torch.equal(torch.isnan(other), torch.isnan(values))
    assert sorted(other[[0, 2, 3], 0].tolist()) == [1, 3, 4]
    torch.testing.assert_close(other[:, 1], values[:, 1], equal_nan=True)


class Stopped(BaseException):
    """What ends a training in the middle of an epoch."""


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(fusion_run, tmp_path, monkeypatch):
    step, run = Trainer._step, tmp_path / "run"

    def stopping(self, *given):
        if self.progress.step == 3:
            raise Stopped
        return step(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", stopping)
        with pytest.raises(Stopped):
            main(["train", *FUSION, "trainer.epochs=2", "trainer.save_every=1", "evaluate=false", f"run={run}"])
    assert main(["train", f"resume={run}"]) == 0
    found, reference = (tensors_from_file(find_checkpoint(one, "last") / "model.safetensors") for one in (run, fusion_run))
    assert found.keys() == reference.keys()
    assert all(torch.equal(found[name], reference[name]) for name in reference)


@pytest.mark.parametrize(
    ("options", "config", "error", "said"),
    [
        ({}, {}, ConfigError, "one image a sample and nothing beside it"),
        ({"inputs": ["flag"]}, {"fusion": {"join": "sum"}}, UnknownNameError, "model.fusion.join"),
        ({"inputs": ["flag"]}, {"fusion": {"dropout": 1.0}}, ConfigError, r"dropout=1 is not in \[0, 1\)"),
        ({"inputs": ["flag"]}, {"fusion": {"encoders": {"imge": {}}}}, UnknownNameError, "unknown modality 'imge'"),
        ({"inputs": ["flag"]}, {"fusion": {"encoders": {"inputs": {}}}}, ConfigError, "nothing to choose"),
        ({"inputs": ["flag"]}, {"fusion": {"encoders": {"image": {"backbon": "x"}}}}, UnknownNameError, "mean 'backbone'"),
        ({"inputs": ["flag"]}, {"fusion": {"encoders": {"image": "resnet8"}}}, ConfigError, "modality 'image': unknown model"),
        ({"inputs": ["flag"]}, {"fusion": {"encoders": {"image": {"backbone": "resnet18_3d"}}}}, ConfigError, "image"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(options, config, error, said):
    with pytest.raises(error, match=said) as raised:
        built(options, **config)
    assert "\n" not in str(raised.value)


def test_a_modality_or_input_that_training_lacks_is_refused():
    dataset = load_dataset("phantom", **TINY, inputs=["flag"])
    table = dataset.table.copy()
    table.loc[table["split"] == "train", "input.flag"] = np.nan
    config = ModelConfig(family="fusion", backbone="test_resnet", fusion=FusionConfig())
    with pytest.raises(ConfigError, match="input 'flag' is missing in all training samples"):
        task_from_config(config, LossConfig(), dataset.with_table(table), 0)


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": ["flag"]},
        {"modalities": ["image", "second"]},
        {"visits": True, "horizon": "next", "visit_inputs": ["now"]},
    ],
)
def test_a_model_of_one_image_refuses_what_it_would_ignore(options):
    dataset = load_dataset("phantom", **TINY, **options)
    with pytest.raises(ConfigError, match="would ignore"):
        task_from_config(ModelConfig(backbone="test_resnet"), LossConfig(), dataset, 0)


def test_an_encoder_starts_from_a_run_and_may_be_frozen(trained_run):
    dataset = load_dataset("phantom", patients=12, size=32, modalities=["image", "second"])
    fusion = FusionConfig(encoders={"image": {"backbone": str(trained_run), "frozen": True}})
    task = task_from_config(ModelConfig(family="fusion", backbone="test_resnet", fusion=fusion), LossConfig(), dataset, 0)
    weights = tensors_from_file(find_checkpoint(trained_run) / "model.safetensors")
    own = task.model.encoders["image"].state_dict()
    same = [name for name, tensor in weights.items() if name in own and torch.equal(own[name], tensor)]
    assert len(same) >= len(own) - 2  # all but the last layer
    assert task.spec.data["learnt_from"][0]["name"] == "phantom/multiclass"
    assert isinstance(task, Fusion)
    task.freeze(TrainerConfig())
    assert not any(p.requires_grad for p in task.model.encoders["image"].parameters())
    assert all(p.requires_grad for p in task.model.encoders["second"].parameters())


def test_an_ensemble_that_would_drop_all_but_one_image_is_refused(fusion_run, capsys):
    assert main(["ensemble", str(fusion_run), str(fusion_run)]) == 2
    assert f"{fusion_run} answers by several modalities, and an ensemble shows its members one image" in capsys.readouterr().err


def test_where_it_looked_is_refused_in_one_line(fusion_run, capsys):
    capsys.readouterr()
    assert main(["explain", f"run={fusion_run}", "sample=any", "map=auto"]) == 2
    assert "there is no map of one image alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (ModelConfig(family="cnn", backbone="test_resnet"), {}),
        (ModelConfig(family="fusion", backbone="test_resnet", fusion=FusionConfig(width=16)), {"inputs": ["flag"]}),
    ],
)
def test_a_teacher_of_other_modalities_is_refused(fusion_run, asked, options):
    student = task_from_config(asked, LossConfig(), load_dataset("phantom", **TINY, **options), seed=0)
    with pytest.raises(ConfigError, match=r"answers by image \(1 channels\), second \(1 channels\), .*the student by"):
        teach(student, TrainerConfig(teacher=str(fusion_run)), seed=0)


def test_features_of_several_modalities_are_not_matched(fusion_run):
    student = load_checkpoint(find_checkpoint(fusion_run))
    with pytest.raises(ConfigError, match=r"distill\.features is for networks of one image"):
        teach(student, TrainerConfig(teacher=str(fusion_run), distill=DistillConfig(features=0.5)), seed=0)


def test_words_that_training_has_never_seen_are_missing():
    dataset = load_dataset("phantom", **TINY, inputs=["category"])
    table = dataset.table.copy()
    table.loc[table["split"] == "train", "input.category"] = 1
    other = replace(dataset, table=table)
    config = ModelConfig(family="fusion", backbone="test_resnet", fusion=FusionConfig(width=16))
    task = task_from_config(config, LossConfig(), other, 0)
    assert isinstance(task, Fusion)
    assert task.inputs is not None
    assert task.inputs.categories == {"category": ("south",)}


def further(run, options=None, loss=None, **config):
    dataset = load_dataset("phantom", **{**_options(run), **(options or {})})
    asked = ModelConfig(family="fusion", backbone=str(run), fusion=FusionConfig(**config))
    return task_from_config(asked, loss or LossConfig(), dataset, seed=3)


def test_a_fusion_goes_on_from_a_run_of_its_kind(fusion_run):
    task, before = further(fusion_run, dropout=0.5), load_checkpoint(find_checkpoint(fusion_run))
    known = before.model.state_dict()
    assert all(torch.equal(tensor, known[name]) for name, tensor in task.model.state_dict().items())  # the same question
    assert task.dropout == 0.5
    assert task.spec.data["learnt_from"][0]["name"] == before.spec.data["name"]
    assert task.spec.arguments["inputs"] == before.spec.arguments["inputs"]
    other = further(fusion_run, {"labels": "binary"}, encoders={"second": {"frozen": True}})
    changed = {name for name, tensor in other.model.state_dict().items() if not _equal(tensor, known[name])}
    assert changed == {"head.weight", "head.bias"}
    other.freeze(TrainerConfig())
    assert not any(p.requires_grad for p in other.model.encoders["second"].parameters())
    assert all(p.requires_grad for p in other.model.encoders["image"].parameters())


def _equal(one, other):
    return one.shape == other.shape and torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "config", "said"),
    [
        ({}, {"width": 64}, "width=64 has no effect on a trained run, which has 16"),
        (
            {},
            {"encoders": {"second": "resnet18"}},
            r"encoders.second: a trained run keeps its encoders \(image, second",
        ),
        ({"modalities": ["image"]}, {}, "joins the images image, second, volume, phantom/multiclass has image: name the same"),
        ({"inputs": None}, {}, "joins the inputs flag, value, category, phantom/multiclass has none"),
        ({"texts": ["note"]}, {}, "joins the texts none, phantom/multiclass has note"),
    ],
)
def test_what_a_run_cannot_go_on_with_is_one_line(fusion_run, options, config, said):
    with pytest.raises(ConfigError, match=said) as raised:
        further(fusion_run, options, **config)
    assert "\n" not in str(raised.value)
