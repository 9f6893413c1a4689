"""A text tower's judge: what passes tower by tower may still fail as a pair."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from medzoo.data.labels import LabelSpace
from medzoo.export.graph.onnx_file import ProvenGraph
from medzoo.export.precision.judges import TextJudge
from medzoo.export.precision.validation import Images, Validation
from medzoo.export.settings import GateConfig
from medzoo.inference.zeroshot import ZeroShotClassifier

LABELS = LabelSpace("multiclass", ("healthy", "sick"))
TOKENS = np.array([[0], [1]])
TARGETS = np.repeat(np.eye(2, dtype=np.float32), 32, axis=0)


def circle(degrees: NDArray[np.float64]) -> NDArray[np.float32]:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def text_tower(turned: float) -> onnx.ModelProto:
    """Two texts a right angle apart, turned by some degrees: images left of their middle are sick."""
    vectors = numpy_helper.from_array(circle(np.array([0.0, 90.0]) + turned), "vectors")
    nodes = [
        helper.make_node("Squeeze", ["tokens", "axis"], ["ids"]),
        helper.make_node("Gather", ["vectors", "ids"], ["text_embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor_value_info("text_embedding", TensorProto.FLOAT, ["n", 2])],
        [vectors, numpy_helper.from_array(np.array([1]), "axis")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


IMAGES = circle(np.repeat([42.0, 48.0], 32))


def judge(reduced_images: NDArray[np.float32] | None) -> TextJudge:
    vectors = circle(np.array([0.0, 90.0]))
    texts = {"healthy": ("a",), "sick": ("b",)}
    classifier = ZeroShotClassifier(LABELS, vectors, None, None, 1.0, texts)
    validation = Validation(Images(None, np.arange(64)), [str(row) for row in range(64)], TARGETS)  # type: ignore[arg-type]
    config = GateConfig(replicates=0)
    return TextJudge(ProvenGraph(None, text_tower(0), {}), TOKENS, config, classifier, validation, IMAGES, reduced_images)


def test_a_tower_alone_is_held_against_the_float32_images() -> None:
    gates = judge(None)(text_tower(2))
    assert set(gates) == {"text_embedding", "zero-shot"}
    assert all(gate.passed for gate in gates.values())  # the middle moves to 47 degrees: nobody changes sides


def test_two_reductions_that_each_pass_are_refused_as_a_pair() -> None:
    away = circle(np.repeat([42.0, 48.0], 32) - 2)
    assert judge(away)(text_tower(0))["zero-shot of both towers"].passed
    gates = judge(away)(text_tower(2))
    assert gates["text_embedding"].passed
    assert gates["zero-shot"].passed
    both = gates["zero-shot of both towers"]
    assert not both.passed  # images at 46 degrees are now right of the middle
    assert next(like.value for like in both.likeness if like.metric == "agreement") == 0.5


def test_towers_that_turn_alike_lose_nothing() -> None:
    assert judge(circle(np.repeat([42.0, 48.0], 32) + 2))(text_tower(2))["zero-shot of both towers"].passed
