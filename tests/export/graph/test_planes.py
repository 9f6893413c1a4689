"""A volume network on planes answers as torch does, whatever its kernels; what is not known leaves the graph alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo.data.labels import LabelSpace
from medzoo.data.samples.preprocess import Preprocess
from medzoo.export.graph import onnx_file
from medzoo.export.graph.onnx_file import export_onnx, prove_graph
from medzoo.export.graph.planes.depth_window import DepthWindow
from medzoo.export.graph.planes.rewrite import Planes, on_planes
from medzoo.export.precision.convert import Half, StaticInt8
from medzoo.export.runtime.model import OnnxModel
from medzoo.losses.objective import objective_from_config
from medzoo.models.registry import model_from_spec
from medzoo.settings.schema import LossConfig
from medzoo.store.spec import ModelSpec
from medzoo.tasks.classify import Classify

LABELS = LabelSpace("multiclass", ("a", "b", "c"))
SMALL = {"width": 0.25}


def volume_task(architecture: str, size: tuple[int, int, int], **arguments: Any) -> Classify:
    """Return a task with random weights and batch statistics that are not the identity."""
    torch.manual_seed(0)
    preprocess = Preprocess(size, channels=1, mean=(0.4,), std=(0.3,))
    objective = objective_from_config(LossConfig(), LABELS, np.eye(3, dtype=np.float32))
    wanted = {"outputs": 3, **arguments}
    spec = ModelSpec("cnn3d", "classify", architecture, preprocess, LABELS, arguments=wanted, objective=objective.to_dict())
    return Classify(spec, shaken(model_from_spec(spec))).eval()


def shaken(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model


def volumes(count: int, *size: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 1), dtype=np.uint8) for _ in range(count)]


def traced(model: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return a bare network of one input `x`, exported as graphs are, its batch dynamic."""
    example = torch.randn(2, *shape)
    program = torch.onnx.export(
        model.eval(), (example,), dynamo=True, opset_version=onnx_file.OPSET, input_names=["x"],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False,
    )  # fmt: skip
    assert program is not None
    return program.model_proto


def differences(model: nn.Module, graph: onnx.ModelProto, shape: tuple[int, ...]) -> list[float]:
    """Return, for each output, the largest difference from torch at batch 3, in standard deviations of torch's answer."""
    onnx.checker.check_model(graph, full_check=True)
    given = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answer = model.eval()(given)
    expected = [value.numpy() for value in (answer if isinstance(answer, tuple) else (answer,))]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": given.numpy()})
    assert [value.shape for value in found] == [value.shape for value in expected]
    return [float(np.abs(mine - other).max() / mine.std()) for mine, other in zip(expected, found, strict=True)]


def ranks_of_kernels(graph: onnx.ModelProto) -> set[int]:
    weights = {tensor.name: len(tensor.dims) for tensor in graph.graph.initializer}
    return {weights[node.input[1]] for node in graph.graph.node if node.op_type == "Conv"}


class Pooled(nn.Module):
    """Some layers between a first convolution and what turns a volume into a vector."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv3d(2, 16, (1, 3, 3), padding=(0, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.first(x)).mean((2, 3, 4))


class Branches(nn.Module):
    """Several layers beside each other, each pooled on its own; the ReLU keeps planes from cancelling in the mean."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.first = nn.Conv3d(2, 16, (1, 3, 3), padding=(0, 1, 1))
        self.layers = nn.ModuleList(layers.values())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = self.first(x)
        return tuple(torch.relu(layer(values)).mean((2, 3, 4)) for layer in self.layers)


LAYERS = {
    "three planes": nn.Conv3d(16, 32, 3, padding=1),
    "three planes, no bias": nn.Conv3d(16, 16, 3, padding=1, bias=False),
    "three planes, odd channels": nn.Conv3d(16, 7, 3, padding=1),
    "five planes": nn.Conv3d(16, 8, 5, padding=2),
    "stride": nn.Conv3d(16, 8, 3, padding=1, stride=2),
    "stride of one tap": nn.Conv3d(16, 8, 1, stride=2),
    "stride in plane": nn.Conv3d(16, 16, 3, padding=1, stride=(1, 2, 2)),
    "uneven": nn.Conv3d(16, 8, (2, 3, 1), padding=(1, 0, 2), stride=(3, 1, 2)),
    "no padding": nn.Conv3d(16, 8, 3),
    "dilation": nn.Conv3d(16, 8, 3, padding=2, dilation=(2, 1, 2)),
    "max": nn.MaxPool3d(3, 2, 1),
    "max, rounded up": nn.MaxPool3d(2, 2, ceil_mode=True),
    "max, dilated": nn.MaxPool3d(2, 1, dilation=2),
    "mean": nn.AvgPool3d(2, 2),
    "mean with padding": nn.AvgPool3d(3, 2, 1),
    "mean without padding": nn.AvgPool3d(3, 2, 1, count_include_pad=False),
    "norm": nn.Sequential(nn.ReLU(), nn.BatchNorm3d(16), nn.Sigmoid(), nn.Conv3d(16, 16, 3, padding=1)),
}


@pytest.mark.parametrize("depth", [9, 4])
def test_a_layer_on_planes_is_the_layer(depth: int) -> None:
    torch.manual_seed(0)
    shape = (2, depth, 10, 7)
    model = shaken(Branches(LAYERS))
    graph = traced(model, shape)
    assert ranks_of_kernels(graph) == {5}
    for minimal in (True, False):
        planes, done = on_planes(graph, minimal)
        assert done == Planes(sum(isinstance(module, nn.Conv3d) for module in model.modules()))
        assert ranks_of_kernels(planes) == {4}
        assert all(len(kernel(node)) == 2 for node in planes.graph.node if node.op_type in ("Conv", "MaxPool", "AveragePool"))
        assert bool(groups(planes)) is minimal
        found = dict(zip(LAYERS, differences(model, planes, shape), strict=True))
        assert max(found.values()) < 1e-5, found


def groups(graph: onnx.ModelProto) -> set[int]:
    return {entry.i for node in graph.graph.node for entry in node.attribute if entry.name == "group"}


def kernel(node: onnx.NodeProto) -> list[int]:
    return next(list(entry.ints) for entry in node.attribute if entry.name == "kernel_shape")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 9, 16])
def test_minimal_filtering_is_the_convolution(size: int) -> None:
    rng = np.random.default_rng(size)
    taps, column = rng.normal(size=3), rng.normal(size=size)
    expected = np.convolve(column, taps[::-1], "full")[1:-1]
    found = DepthWindow(size, size, 3, before=1).minimal_filter()
    if size == 1:  # one plane reads one tap: nothing to save
        assert found is None
        return
    assert found is not None
    np.testing.assert_allclose(
        found.out @ (np.tile(found.kernel @ taps, found.tiles) * (found.into @ column)), expected, atol=1e-6
    )
    assert len(found.into) < 3 * size


class Grouped(Pooled):
    def __init__(self) -> None:
        super().__init__(nn.Conv3d(16, 16, 3, padding=1, groups=4))


class Flipped(Pooled):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.first(x)).flip(2).cumsum(2).mean((2, 3, 4))


class Spread(Pooled):
    def forward(self, x: Tensor) -> Tensor:
        values = self.first(x)
        return (values * values.mean((2, 3, 4), keepdim=True)).mean((2, 3, 4))


class Shown(Pooled):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.first(x))


UNKNOWN = [
    (Grouped(), "4 groups"), (Pooled(nn.AvgPool3d(2, 2, ceil_mode=True)), "rounds its size up"),
    (Pooled(nn.ConvTranspose3d(16, 4, 2)), "ConvTranspose"), (Pooled(nn.InstanceNorm3d(16)), "is not known on planes"),
    (Flipped(), "is not known on planes"), (Spread(), "spreads"), (Shown(), "is a volume"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "reason"), UNKNOWN, ids=[reason for _, reason in UNKNOWN])
def test_what_is_not_known_leaves_the_graph_as_it_was(model: nn.Module, reason: str) -> None:
    graph = traced(model, (2, 5, 6, 7))
    before = graph.SerializeToString()
    same, done = on_planes(graph)
    assert same is graph
    assert graph.SerializeToString() == before
    assert done is not None
    assert done.left is not None
    assert reason in done.left


def test_flat_networks_are_not_spoken_of() -> None:
    graph = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 8, 8))
    assert on_planes(graph) == (graph, None)


def test_two_convolutions_that_share_their_weights() -> None:
    torch.manual_seed(0)
    twice = nn.Conv3d(16, 16, 3, padding=1)
    model = Pooled(twice, nn.ReLU(), nn.MaxPool3d(4), twice)  # depth 8 and 2: other products, other weights
    graph = traced(model, (2, 8, 8, 8))
    assert max(differences(model, on_planes(graph)[0], (2, 8, 8, 8))) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "size", "arguments"),
    [
        ("resnet18_3d", (9, 24, 20), SMALL),
        pytest.param(
            "resnet18_3d", (24, 24, 24), {**SMALL, "stem_kernel": 3, "stem_stride": 2, "stem_pool": False}, marks=pytest.mark.slow
        ),
        pytest.param("resnet50_3d", (17, 24, 24), SMALL, marks=pytest.mark.slow),
        pytest.param("densenet121_3d", (28, 28, 28), {"stem_stride": 1, "drop_rate": 0.1}, marks=pytest.mark.slow),
        pytest.param("densenet121_3d", (33, 64, 40), {}, marks=pytest.mark.slow),
    ],
)
def test_a_network_is_exported_on_planes_and_proven(
    architecture: str, size: tuple[int, int, int], arguments: dict[str, Any], tmp_path: Path
) -> None:
    task = volume_task(architecture, size, **arguments)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    convolutions = sum(isinstance(module, nn.Conv3d) for module in task.modules())
    report = export_onnx(task, tmp_path / "m.onnx", volumes(3, *size))
    assert report["planes"] == {"convolutions": convolutions, "left": None}
    assert report["parity"]["relative"] < 1e-5
    assert report["parity"]["batches"] == (1, 2, 3, 7)
    assert ranks_of_kernels(onnx.load(tmp_path / "m.onnx")) == {4}
    after = task.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert before.keys() == after.keys()
    assert all(type(module).__module__.split(".")[0] in ("torch", "monai", "medzoo") for module in task.modules())
    model = OnnxModel(tmp_path / "m.onnx")
    for batch, other in ((1, (5, 31, 18)), (2, (30, 9, 24)), (3, (1, 16, 40)), (7, size)):  # depths beside the trained one
        images = volumes(batch, *other)
        expected = task.predict({"image": torch.from_numpy(np.stack(images)).movedim(-1, 1)})["logits"].numpy()
        found = model.predict(images, batch_size=batch)["logits"]
        assert np.abs(found - expected).max() < 1e-3 * report["parity"]["spread"]


def test_a_wrong_rewriting_is_caught_by_the_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = volume_task("resnet18_3d", (9, 16, 16), width=0.125)

    def wrong(model: onnx.ModelProto, minimal: bool) -> Any:
        planes, done = on_planes(model, minimal)
        gather = next(n for n in planes.graph.node if n.op_type == "Gather" and n.output[0].endswith("_stacked"))
        places = next(tensor for tensor in planes.graph.initializer if tensor.name == gather.input[1])
        places.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(places)[::-1].copy(), places.name))
        return planes, done

    monkeypatch.setattr(onnx_file, "on_planes", wrong)
    with pytest.raises(onnx_file.ExportError, match=r"differs? from torch"):
        export_onnx(task, tmp_path / "m.onnx", volumes(3, 9, 16, 16))
    assert not list(tmp_path.iterdir())


def test_reduced_precisions_take_the_graph_without_minimal_filtering() -> None:
    size = (12, 16, 16)
    task = volume_task("resnet18_3d", size, **SMALL)
    proven = prove_graph(task.deploy(), volumes(3, *size))
    assert not groups(proven.model)
    feeds = [{"image": np.stack(volumes(8, *size))}]
    expected = logits(proven.model, feeds[0])
    for reduced, limit in ((StaticInt8(proven.model, feeds).convert(), 0.3), (Half(proven.model).convert(), 0.01)):
        assert np.abs(logits(reduced, feeds[0]) - expected).max() < limit * expected.std()


def logits(model: onnx.ModelProto, feed: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["logits"], feed)[0]
    return found
