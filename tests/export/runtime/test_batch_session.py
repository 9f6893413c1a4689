"""Batches in pieces side by side: who gets what, the same answers, and never two files' weights in one batch."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from medzoo.data.errors import OnnxFileError
from medzoo.export.runtime import batch_session
from medzoo.export.runtime.batch_session import PIECE, BatchSession, cut_batch, images_per_piece
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.providers import SessionSettings
from tests.export.handmade import expected_logits, write


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("handmade") / "model.onnx")


def images(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8))


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 64, 100])
def test_every_image_has_one_place_and_every_thread_as_many(count: int, threads: int) -> None:
    pieces, rest = cut_batch(count, threads, PIECE)
    places = [place for part in (*pieces, rest) for place in range(part.start, part.stop)]
    assert places == list(range(count))
    sizes = [piece.stop - piece.start for piece in pieces]
    assert len(sizes) % threads == 0
    if sizes:
        assert max(sizes) <= PIECE
        assert max(sizes) - min(sizes) <= 1
        assert rest.stop - rest.start < threads
        assert count >= 2 * threads
    else:
        assert (rest.start, rest.stop) == (0, count)


def test_small_images_make_large_pieces() -> None:
    """An image of 64 pixels a side is a twelfth of one of 224: pieces of 4 would be slower than the whole batch."""
    assert images_per_piece((224, 224)) == 4
    assert images_per_piece((64, 64)) == 49
    assert images_per_piece((64, 64, 64)) == 2
    assert images_per_piece((1024, 1024)) == 2
    assert images_per_piece(()) == 4  # texts
    assert [piece.stop - piece.start for piece in cut_batch(32, 2, 49)[0]] == [16, 16]


def test_small_batches_are_not_cut() -> None:
    assert cut_batch(3, 2, 4) == ([], slice(0, 3))
    assert cut_batch(4, 2, 4) == ([slice(0, 2), slice(2, 4)], slice(4, 4))
    assert cut_batch(4, 1, 4) == ([], slice(0, 4))
    assert [piece.stop - piece.start for piece in cut_batch(32, 2, 4)[0]] == [4] * 8


class Watched:
    """A session that notes which images it was given and in which thread."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.counts: list[int] = []
        self.threads: set[str] = set()

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        self.counts.append(len(feed["image"]))
        self.threads.add(threading.current_thread().name)
        found: list[Any] = self.session.run(names, feed)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def watched(path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[BatchSession, list[Watched]]:
    opened: list[Watched] = []
    real = batch_session.open_session

    def open_watched(path: Path, settings: SessionSettings) -> Watched:
        opened.append(Watched(real(path, replace(settings, provider="cpu"))))
        return opened[-1]

    monkeypatch.setattr(batch_session, "open_session", open_watched)
    return BatchSession(path, SessionSettings(**settings)), opened


def test_pieces_run_in_threads_and_what_is_left_over_in_the_caller(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, opened = watched(path, monkeypatch, threads=2)
    pixels = images(9)
    found = batches.run(["logits", "probabilities"], {"image": np.stack(pixels)}, ["image"], PIECE)
    whole, single = opened
    assert sorted(single.counts) == [4, 4]
    assert all(name.startswith("medzoo-run") for name in single.threads)
    assert whole.counts == [1]
    assert single.session.get_session_options().intra_op_num_threads == 1
    np.testing.assert_allclose(found["logits"], expected_logits(pixels), rtol=1e-4, atol=1e-4)
    odds = np.exp(found["logits"].astype(np.float64))
    np.testing.assert_allclose(found["probabilities"], odds / odds.sum(axis=1, keepdims=True), atol=1e-5)


def test_rows_are_shared_out_and_the_rest_is_given_to_every_piece(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["image", "factor"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "classes"], ["logits"]),
    ]
    inputs = {"image": ["n", 3], "factor": ["n", 3], "classes": [3, "k"]}
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", "k"])],
    )
    path = tmp_path / "rows.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    rng = np.random.default_rng(0)
    image, factor, classes = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 3), (8, 3), (3, 8)))
    batches = BatchSession(path, SessionSettings(threads=2))
    feed = {"image": image, "factor": factor, "classes": classes}
    expected = image * factor @ classes
    np.testing.assert_allclose(batches.run(["logits"], feed, ["image", "factor"], PIECE)["logits"], expected, atol=1e-5)
    feed["factor"] = factor[:1]  # one row for all
    np.testing.assert_allclose(batches.run(["logits"], feed, ["image"], PIECE)["logits"], image * factor[:1] @ classes, atol=1e-5)


def test_the_second_session_is_opened_once_and_only_when_a_batch_is_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, opened = watched(path, monkeypatch, threads=2)
    batches.run(["logits"], {"image": np.stack(images(3))}, ["image"], PIECE)
    assert len(opened) == 1
    for _ in range(3):
        batches.run(["logits"], {"image": np.stack(images(8))}, ["image"], PIECE)
    assert len(opened) == 2


def test_with_one_thread_one_session_and_no_pool(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, opened = watched(path, monkeypatch, threads=1)
    batches.run(["logits"], {"image": np.stack(images(10))}, ["image"], PIECE)
    (only,) = opened
    assert only.counts == [3, 3, 4]
    assert only.threads == {threading.current_thread().name}


@pytest.mark.parametrize("why", ["asked", "too large", "several operators at once", "another provider"])
def test_when_batches_stay_whole(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    asked: dict[str, dict[str, Any]] = {
        "asked": {"split_batches": False},
        "several operators at once": {"inter_op_threads": 2},
        "another provider": {"provider": "cuda"},
    }
    if why == "too large":  # with the weights that lie beside the graph
        path = write(tmp_path / "model.onnx", external=True)
        monkeypatch.setattr(batch_session, "MAX_BYTES", path.stat().st_size + 1)
    batches, opened = watched(path, monkeypatch, threads=2, **asked.get(why, {}))
    batches.run(["logits"], {"image": np.stack(images(32))}, ["image"], PIECE)
    (only,) = opened
    assert only.counts == [32]


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("how", ["another model", "gone"])
def test_a_file_replaced_after_it_was_opened_answers_for_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, external: bool
) -> None:
    """A server whose file is exported anew goes on with the model it opened, as it did without a second session."""
    file = write(tmp_path / "model.onnx", external=external)
    batches, opened = watched(file, monkeypatch, threads=2)
    changed = file.with_name("model.onnx.data") if external else file
    if how == "gone":
        changed.unlink()
    else:
        other = write(tmp_path / "other" / "model.onnx", external=external, scale=2.0)
        other.with_name(changed.name).replace(changed)
    pixels = images(16)
    found = batches.run(["logits"], {"image": np.stack(pixels)}, ["image"], PIECE)
    np.testing.assert_allclose(found["logits"], expected_logits(pixels), rtol=1e-4, atol=1e-4)
    (only,) = opened
    assert only.counts == [16]


def test_where_the_second_session_cannot_be_opened_batches_stay_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, opened = watched(path, monkeypatch, threads=2)
    asked: list[Path] = []

    def no_memory(path: Path, settings: SessionSettings) -> Any:
        asked.append(path)
        raise OnnxFileError("onnxruntime cannot load it: bad allocation")

    monkeypatch.setattr(batch_session, "open_session", no_memory)
    for _ in range(3):
        batches.run(["logits"], {"image": np.stack(images(16))}, ["image"], PIECE)
    assert opened[0].counts == [16, 16, 16]
    assert len(asked) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_answers_too(path: Path) -> None:
    model = OnnxModel(path, threads=2)
    pixels = images(16)
    model.predict(pixels)  # the threads exist, and a fork has none of them
    child = os.fork()
    if not child:  # no assertion of pytest's here: it would run the tests on
        signal.alarm(20)
        right = np.allclose(model.predict(pixels)["logits"], expected_logits(pixels), rtol=1e-4, atol=1e-4)
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_at_the_interpreters_end_batches_stay_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, opened = watched(path, monkeypatch, threads=2)
    batches.run(["logits"], {"image": np.stack(images(16))}, ["image"], PIECE)
    assert batches._pool is not None
    batches._pool.shutdown()  # submit then raises what it raises when the interpreter ends
    batches.run(["logits"], {"image": np.stack(images(16))}, ["image"], PIECE)
    assert opened[0].counts == [16]


def test_a_model_says_how_large_a_piece_of_its_images_is(path: Path) -> None:
    assert OnnxModel(path)._piece == images_per_piece((8, 8))


def test_answers_of_several_callers_are_not_mixed(path: Path) -> None:
    model = OnnxModel(path, threads=2)
    pixels = images(64)
    found: dict[int, Any] = {}

    def ask(start: int) -> None:
        for _ in range(5):
            found[start] = model.predict(pixels[start : start + 16])["logits"]

    callers = [threading.Thread(target=ask, args=(start,)) for start in range(0, 64, 16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    answers = np.concatenate([found[start] for start in sorted(found)])
    np.testing.assert_allclose(answers, expected_logits(pixels), rtol=1e-4, atol=1e-4)
