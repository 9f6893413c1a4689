"""Reduced precisions: gated, exact where they must be, refused with a reason where they lose, and nothing left behind then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file

from medzoo.cli import main
from medzoo.data.errors import ExportError
from medzoo.data.registry import load_dataset
from medzoo.data.samples.sample_dataset import SampleDataset
from medzoo.export.files.model_files import open_model
from medzoo.export.graph.onnx_file import ProvenGraph
from medzoo.export.precision.convert import DynamicInt8, Half, NotOfferedError, StaticInt8
from medzoo.export.precision.figures import Gate
from medzoo.export.precision.layers import GraphLayers
from medzoo.export.precision.overflow import check_overflow
from medzoo.export.precision.reduce import reduce_graph
from medzoo.export.precision.sensitivity import kept_counts, layer_costs, search_layers
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.settings import ExportConfig
from medzoo.store.checkpoint import WEIGHTS, find_checkpoint
from medzoo.tasks.load import load_checkpoint

LOOSE = ["images=12", "gate.replicates=20"]
CALIBRATED = [*LOOSE, "calibration.images=32"]


def val_images(run: Path, count: int) -> tuple[list[np.ndarray], SampleDataset]:
    task = load_checkpoint(find_checkpoint(run, "best"))
    samples = SampleDataset(load_dataset("phantom", size=32, patients=40), "val", task.spec.preprocess)
    return [samples.pixels(index) for index in range(min(count, len(samples)))], samples


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 0.01), ("int8", 0.15)])
def test_a_reduced_file_runs_and_agrees(
    exported: Path, trained_run: Path, tmp_path: Path, precision: str, tolerance: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"model.{precision}.onnx"
    before = exported.read_bytes()
    # A model of three epochs answers near its ties: the gate of agreement is for trained ones.
    options = [
        *(CALIBRATED if precision == "int8" else LOOSE),
        f"precision={precision}",
        f"output={path}",
        "gate.agreement=0.8",
        "gate.loss=0.03",
        "gate.seed=3",
        "sensitivity=true",
    ]
    assert main(["export", f"run={trained_run}", *options]) == 0
    said = capsys.readouterr().out
    assert exported.read_bytes() == before
    images, _ = val_images(trained_run, 32)
    wanted, found = OnnxModel(exported).predict(images), OnnxModel(path).predict(images)
    assert 0 < np.abs(found["logits"] - wanted["logits"]).max() < tolerance * wanted["logits"].std()
    assert found["logits"].dtype == np.float32
    assert path.stat().st_size < (0.6 if precision == "fp16" else 0.45) * exported.stat().st_size
    report = json.loads(path.with_suffix(".json").read_text())
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    inside = json.loads(metadata["medzoo.report"])
    assert inside["precision"] == report["precision"] == precision
    assert inside["gate"]["logits"]["passed"]
    assert [layer["name"] for layer in inside["layers"] if layer["fixed"]] == ["fc"]
    assert all(layer["cost"] > 0 for layer in report["layers"] if not layer["fixed"])
    assert "passed" in said
    assert inside["settings"]["gate"]["loss"] == 0.03
    assert inside["settings"]["gate"]["seed"] == 3
    assert inside["settings"]["checkpoint"] == "best"
    assert (inside["settings"]["calibration"] or {}).get("images") == (32 if precision == "int8" else None)
    # The proof is the float32 graph's, and is not said to be this file's.
    assert "parity" not in report
    assert "metric" not in report
    assert report["float32"]["parity"]["relative"] <= 1e-3
    lines = said.splitlines()
    assert lines[lines.index("the float32 graph it was made from:") + 1].startswith("parity with torch")
    assert ("overflow" in report) == (precision == "fp16")
    # The training split is smaller than the default of 128: what was used is said, not what was asked for.
    wanted = None if precision == "fp16" else {"images": 32, "seed": 0, "method": "minmax"}
    assert report["settings"]["calibration"] == wanted
    if precision == "fp16":
        assert 0 < report["overflow"]["largest"] < 32752
        assert "values checked for overflow" in said
    assert "always float32" in said
    assert ("for GPUs" in said) == (precision == "fp16")
    assert "of float32's" in said


class Passing:
    """A judge of images that lets everything pass: the CPU provider does not see what a GPU would."""

    skipped: dict[str, str] = {}  # noqa: RUF012

    def __call__(self, model: onnx.ModelProto) -> dict[str, Gate]:
        return {"logits": Gate("class", 1)}

    def costs(self, reduction: Half) -> dict[str, float]:
        return {}

    def inputs(self, count: int, batch: int) -> list[dict[str, np.ndarray]]:
        return [{"image": np.array([[0.1, 0.2]], np.float32)}, {"image": np.array([[-0.5, 0.2], [0, 0]], np.float32)}]


def test_fp16_is_refused_where_a_value_would_overflow() -> None:
    for factor, fits in ((6e4, True), (1e5, False)):  # times 0.5, against 65504 / 2
        model = planted([("first", factor * np.eye(2)), ("second", np.eye(2) / factor), ("last", np.eye(2))])
        proven = ProvenGraph(None, model, {})
        if fits:
            seen = reduce_graph(proven, Half(model), Passing(), ExportConfig(precision="fp16")).report["overflow"]
            assert (seen["largest"], seen["layer"], seen["inputs"], seen["limit"]) == (30000, "first", 3, 32752)
        else:
            with pytest.raises(ExportError, match=r"fp16 is refused: layer first reaches 5e\+04 on 3 .*limit 32752"):
                reduce_graph(proven, Half(model), Passing(), ExportConfig(precision="fp16"))


def test_float_nodes_and_masks_are_not_looked_at() -> None:
    model = planted([("first", np.eye(2)), ("last", 1e9 * np.eye(2))])  # the last layer stays float32
    feeds = [{"image": np.array([[1.0, -np.inf]], np.float32)}]
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.eye(2, dtype=np.float32), "model.first.weight"))
    assert Half(model).half_nodes() == {"first"}
    assert check_overflow(model, {"first"}, [{"image": np.array([[1.0, -3.0]], np.float32)}])["largest"] == 3
    node = helper.make_node("Relu", ["image"], ["half"], name="relu")
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", None]) for n in ("image", "half")]
    masked = helper.make_model(
        helper.make_graph([node], "g", value[:1], value[1:]), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    assert check_overflow(masked, {"relu"}, feeds)["largest"] == 1
    lowest = np.finfo(np.float32).min  # as transformers masks attention
    assert check_overflow(masked, {"relu"}, [{"image": np.array([[2.0, lowest]], np.float32)}])["largest"] == 2


def test_int8_weights_are_int8_and_the_preprocessing_is_not(trained_run: Path, exported: Path) -> None:
    images, _ = val_images(trained_run, 8)
    model = onnx.load(exported)
    reduced = StaticInt8(model, [{"image": np.stack(images)}]).convert()
    kinds = {tensor.name: tensor.data_type for tensor in reduced.graph.initializer}
    assert kinds["model.layer1.0.conv1.weight_quantized"] == TensorProto.INT8
    weights = next(numpy_helper.to_array(t) for t in reduced.graph.initializer if t.name.endswith("conv1.weight_quantized"))
    assert np.abs(weights).max() <= 64  # seven bits
    assert kinds["model.fc.weight"] == TensorProto.FLOAT
    scales = next(numpy_helper.to_array(t) for t in reduced.graph.initializer if t.name == "model.layer1.0.conv1.weight_scale")
    assert len(set(scales.tolist())) > 1  # one a channel
    producers = {name: node for node in reduced.graph.node for name in node.output}
    resize = next(node for node in reduced.graph.node if node.op_type == "Resize")
    assert producers[resize.input[0]].op_type != "DequantizeLinear"
    assert next(node for node in reduced.graph.node if node.op_type == "Gemm").input[1] == "model.fc.weight"


def test_the_ranges_are_those_of_the_calibration_images() -> None:
    model = planted([("first", np.eye(2)), ("second", np.eye(2)), ("last", np.eye(2))])
    # Batches of their own: a range holds the least and largest of all of them.
    batches = [{"image": np.array([[1.0, 3.0]], np.float32)}, {"image": np.array([[-2.0, 0.5], [0, 0]], np.float32)}]
    reduced = StaticInt8(model, batches).convert()
    scale = next(numpy_helper.to_array(t) for t in reduced.graph.initializer if t.name == "image_scale")
    assert scale == pytest.approx(5 / 255, rel=1e-6)


def planted(layers: list[tuple[str, np.ndarray]]) -> onnx.ModelProto:
    """A chain of matrix products; `image` (N, 2) → `logits`."""
    nodes, constants, given = [], [], "image"
    for place, (name, weight) in enumerate(layers):
        out = "logits" if place == len(layers) - 1 else f"{name}_out"
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"model.{name}.weight"))
        nodes.append(helper.make_node("MatMul", [given, f"model.{name}.weight"], [out], name=name))
        given = out
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", None]) for n in ("image", "logits")]
    graph = helper.make_graph(nodes, "planted", value[:1], value[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_the_last_layer_and_what_stands_before_the_first_are_float() -> None:
    found = GraphLayers(planted([("first", np.eye(2)), ("second", np.eye(2)), ("last", np.eye(2))]))
    assert [layer.name for layer in found.layers] == ["first", "second"]
    assert [layer.name for layer in found.fixed] == ["last"]
    assert found.float_nodes == ("last",)


def test_one_layer_alone_is_measured_and_left_in_float() -> None:
    # The first layer makes one channel a thousand times the other, the second undoes it: 8 bits of their common range lose the
    # small one, and no other product here loses anything to speak of.
    wide = np.diag([1000.0, 1.0])
    chain = [
        ("even", np.eye(2)),
        ("widen", wide),
        ("narrow", np.linalg.inv(wide)),
        ("same", np.eye(2)),
        ("last", np.eye(2)),
    ]
    model = planted(chain)
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (64, 2)).astype(np.float32)
    reduction = StaticInt8(model, [{"image": images}])
    reference = open_model(model)
    costs = layer_costs(reduction, reference, [{"image": images}], "logits")
    assert set(costs) == {"even", "widen", "narrow", "same"}
    assert min(costs["widen"], costs["narrow"]) > 10 * max(costs["even"], costs["same"])
    tried = []

    def judge(reduced: onnx.ModelProto) -> dict[str, Gate]:
        error = np.abs(open_model(reduced).run(None, {"image": images})[0] - reference.run(None, {"image": images})[0]).max()
        tried.append(error)
        return {"logits": Gate("class", 64, 1, None, None if error < 0.05 else f"error {error:.2f}, limit 0.05")}

    found = search_layers(reduction, judge, lambda: costs)
    assert found.passed
    assert set(found.kept) == {"widen", "narrow"}
    assert tried[0] > 0.5
    assert len(tried) == 3  # all reduced, one left out, two left out
    assert not found.first["logits"].passed


def test_how_many_layers_are_left_out() -> None:
    assert list(kept_counts(1)) == []
    assert list(kept_counts(2)) == [1]
    assert list(kept_counts(13)) == [1, 2, 4, 6]
    assert list(kept_counts(40)) == [1, 2, 4, 8, 16, 20]


def test_costs_are_not_measured_when_the_gate_passes() -> None:
    reduction = Half(planted([("first", np.eye(2)), ("last", np.eye(2))]))
    asked = []
    passing = {"logits": Gate("class", 1, 1, None, None)}
    assert search_layers(reduction, lambda m: passing, lambda: asked.append(1) or {}).passed
    assert not asked
    search_layers(reduction, lambda m: passing, lambda: asked.append(1) or {}, always=True)
    assert asked == [1]


@pytest.mark.slow
def test_a_model_that_int8_ruins_is_refused_by_name_and_figure(
    trained_run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run, ignore=shutil.ignore_patterns("model*.onnx", "model*.json"))
    file = find_checkpoint(run, "best") / WEIGHTS
    weights = load_file(file)
    spoil(weights)
    # So few epochs say the same class of every image: centred logits are what agreement can tell apart.
    images, _ = val_images(trained_run, 20)
    weights["fc.bias"] -= torch.from_numpy(OnnxModel(exported).predict(images)["logits"].mean(axis=0))
    save_file(weights, file)
    assert main(["export", f"run={run}", *CALIBRATED, "precision=int8", "+data.patients=120", "other_data=true"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "precision=int8 is refused" in error
    assert "limit 0.98" in error
    assert "with the 6 costliest of 13 layers in float32 still" in error
    assert "no file was written" in error
    assert "layer" in error.split("error of a layer alone")[1]
    assert not list(run.glob("model*"))
    older = run / "model.int8.onnx"
    older.write_bytes(b"older")
    assert main(["export", f"run={run}", *CALIBRATED, "precision=int8", "+data.patients=120", "other_data=true"]) == 2
    said = capsys.readouterr()
    assert said.err.strip().endswith(f"{older} of an older export still stands there")
    assert "note: the dataset is not as the model was trained on: patients 120 instead of 40" in said.out
    assert older.read_bytes() == b"older"


def spoil(weights: dict[str, torch.Tensor]) -> None:
    """Rescale the channels behind most convolutions from 1 to 100,000 and take it back in the next: equal in float32, hopeless in
    the eight bits that all channels of an activation share. ReLU lets positive factors through."""
    pairs = [(f"layer{n}.0.bn1", f"layer{n}.0.conv2") for n in (1, 2, 3, 4)] + [("layer3.0.bn2", "layer3.0.conv3")]
    for norm, after in pairs:
        factor = torch.logspace(0, 5, len(weights[f"{norm}.weight"]))
        for part in ("weight", "bias"):
            weights[f"{norm}.{part}"] = weights[f"{norm}.{part}"] * factor
        weights[f"{after}.weight"] = weights[f"{after}.weight"] / factor[None, :, None, None]


def test_dynamic_int8_is_for_matrix_products(exported: Path) -> None:
    with pytest.raises(NotOfferedError, match="100% of the weights are in convolutions; use precision=int8"):
        DynamicInt8(onnx.load(exported))
    rng = np.random.default_rng(0)
    model = planted([("first", rng.normal(size=(2, 2))), ("last", np.eye(2))])
    reduced = DynamicInt8(model).convert()
    assert [node.op_type for node in reduced.graph.node].count("MatMulInteger") == 1
    with pytest.raises(NotOfferedError, match="no layer but the last"):
        StaticInt8(planted([("last", np.eye(2))]), [{"image": np.ones((1, 2), np.float32)}])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("precision=int4", "precision 'int4' is not offered; choose fp32, fp16, int8, int8_dynamic"),
        ("calibration.method=minmix", "did you mean 'minmax'"),
        ("calibration.images=0", "calibration.images=0 must be at least 1"),
        ("gate.images=99", "gate.images=99 must be at least 100"),
        ("gate.replicates=-1", "gate.replicates=-1 must be at least 0"),
        ("gate.level=1", "gate.level=1 must lie between 0 and 1"),
        ("gate.loss=-0.1", "the gate's limit loss is -0.1"),
        ("gate.agreement=98", "the gate's limit agreement is 98"),
        ("gate.looss=1", "did you mean"),
        ("gate.loss=0.5", "the gate's limit loss is 0.5; it must be from 0 to 0.2"),
        ("gate.loss=inf", "the gate's limit loss is inf"),
        ("sensitivity=true", "sensitivity has no effect on precision=fp32"),
        ("calibration.seed=1", "calibration has no effect on precision=fp32"),
        ("gate.loss=0.1", "gate has no effect on precision=fp32"),
        ("precision=fp16 calibration.images=3", "calibration has no effect on precision=fp16"),
        ("precision=int8_dynamic calibration.method=entropy", "calibration has no effect on precision=int8_dynamic"),
        ("output=a.int8.onnx", "is the name of a file of another precision; this one is fp32"),
        ("precision=int8 output=a.int8_dynamic.onnx", "is the name of a file of another precision; this one is int8"),
        ("prompts=mine.yaml", "prompts=mine.yaml has no effect"),
        ("output=model.bin", "must end in .onnx"),
        ("output=spec.onnx", "would replace a run's own file"),
        ("output=history.onnx", "would replace a run's own file"),
        ("+data.labels=multilabel", "data.labels=multilabel: "),
        ("+data.labels=multilabel other_data=true", "are not the model's: "),
    ],
)
def test_mistakes_are_one_line(option: str, message: str, trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"run={trained_run}", *option.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_reduced_file_is_not_called_as_the_float32_one(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", f"run={trained_run}", "precision=int8", f"output={tmp_path / 'model.onnx'}"]) == 2
    assert "call it model.int8.onnx" in capsys.readouterr().err
