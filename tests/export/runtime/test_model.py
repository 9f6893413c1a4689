"""Any number of images through the runtime: in order, in bounded memory, nothing dropped; tensors used where they are."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections import deque
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from medzoo.data.errors import ConfigError, ImageError, ProviderError, UnknownNameError
from medzoo.export.runtime.inputs import pixel_bytes
from medzoo.export.runtime.model import OnnxModel, Prediction
from tests.export.handmade import expected_logits, write

CORRUPT = b"\x89PNG\r\n\x1a\n0000"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    return OnnxModel(write(tmp_path_factory.mktemp("handmade") / "m.onnx"), threads=1)


def picture(seed: int, height: int = 6, width: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def logits(predictions: list[Prediction]) -> NDArray[np.float32]:
    return np.stack([prediction.outputs["logits"] for prediction in predictions])


def close(ours: NDArray[np.float32], images: list[NDArray[np.uint8]]) -> None:
    np.testing.assert_allclose(ours, expected_logits(images), rtol=1e-4, atol=1e-4)


def test_mixed_kinds_and_sizes_come_back_in_order(model: OnnxModel, tmp_path: Path) -> None:
    images = [picture(i, 4 + i % 3, 5) for i in range(50)]
    given: list[object] = list(images)
    for i in range(0, 50, 4):
        given[i] = png(images[i])
    for i in range(1, 50, 4):
        path = tmp_path / f"{i}.png"
        path.write_bytes(png(images[i]))
        given[i] = str(path) if i % 8 == 1 else path
    for i in range(2, 50, 4):
        given[i] = Image.open(BytesIO(png(images[i])))
    for batch_size, window in ((1, 1), (4, 4), (7, 20), (100, None)):
        found = list(model.stream(iter(given), batch_size=batch_size, window=window))
        assert [prediction.place for prediction in found] == list(range(50))
        assert all(prediction.error is None for prediction in found)
        close(logits(found), images)
    close(model.predict(given, batch_size=3)["logits"], images)
    twice = Image.open(BytesIO(png(images[0])))  # not loaded yet, and in the same batch
    close(model.predict([twice] * 8)["logits"], [images[0]] * 8)
    close(model.predict(np.stack([image[:4] for image in images]))["logits"], [image[:4] for image in images])


def test_ten_thousand_images_are_never_held_at_once(model: OnnxModel) -> None:
    alive = most = made = 0

    class Counted(np.ndarray):  # type: ignore[type-arg]
        pass

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal alive, most, made
        for i in range(10_000):
            image = np.full((6, 5, 3), i % 251, np.uint8).view(Counted)
            weakref.finalize(image, gone)
            alive, made = alive + 1, made + 1
            most = max(most, alive)
            yield image

    count = 0
    for prediction in model.stream(images(), batch_size=32, window=64):
        assert prediction.place == count
        assert made - count <= 64 + 1  # no further ahead than the window
        expected = expected_logits([np.full((6, 5, 3), count % 251, np.uint8)]) if count % 500 == 0 else None
        if expected is not None:
            np.testing.assert_allclose(prediction.outputs["logits"], expected[0], rtol=1e-4, atol=1e-4)
        count += 1
    assert count == made == 10_000
    assert most <= 64 + 3  # the window, and what local names still hold
    gc.collect()
    assert alive <= 1


def test_memory_is_flat_over_encoded_images(model: OnnxModel) -> None:
    encoded = [png(picture(i, 64, 64)) for i in range(4)]

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            found = sum(1 for _ in model.stream((encoded[i % 4] for i in range(count)), batch_size=16))
            _, most = tracemalloc.get_traced_memory()
        finally:  # traced on, what comes after takes many times as long
            tracemalloc.stop()
        assert found == count
        return most

    peak(64)
    # A window of four batches, one in work, and small change; all together would be 39 MB. How full the window gets is chance.
    assert peak(3200) < 6 * 16 * 64 * 64 * 3 + 2**20


def test_a_corrupt_image_is_named(model: OnnxModel, tmp_path: Path) -> None:
    good = png(picture(0))
    path = tmp_path / "bad.png"
    path.write_bytes(CORRUPT)
    with pytest.raises(ImageError, match=r"^image 70: "):
        list(model.stream([good] * 70 + [CORRUPT] + [good] * 9, batch_size=8))
    with pytest.raises(ImageError, match=r"bad\.png"):
        list(model.stream([good, path]))
    with pytest.raises(ImageError, match=r"^image 1: .*int64"):
        list(model.stream([picture(0), np.zeros((4, 4), np.int64)]))
    with pytest.raises(ImageError, match=r"^image 2: "):
        model.predict([good, good, CORRUPT])
    with pytest.raises(ImageError, match=r"^image 1: a list is no image"):
        model.predict([good, [[0, 1], [2, 3]]])  # type: ignore[list-item]


def test_a_corrupt_image_is_skipped_and_reported_in_its_place(model: OnnxModel, tmp_path: Path) -> None:
    images = [picture(i) for i in range(40)]
    given: list[object] = [png(image) for image in images]
    bad = (0, 7, 8, 39)
    for place in bad:
        given[place] = CORRUPT
    given[8] = tmp_path / "absent.png"
    given[39] = np.zeros((2, 2, 7), np.uint8)
    found = list(model.stream(given, batch_size=4, on_error="skip"))
    assert [prediction.place for prediction in found] == list(range(40))
    skipped = {prediction.place: str(prediction.error) for prediction in found if prediction.error is not None}
    assert tuple(skipped) == bad
    assert "absent.png" in skipped[8]
    assert all(not found[place].outputs for place in bad)
    close(logits([p for p in found if p.error is None]), [image for i, image in enumerate(images) if i not in bad])
    assert [p.error is not None for p in model.stream([CORRUPT] * 3, on_error="skip")] == [True] * 3


def test_whoever_stops_listening_stops_the_reading(model: OnnxModel) -> None:
    read = 0

    def images() -> Iterator[bytes]:
        nonlocal read
        while True:  # endless
            read += 1
            yield png(picture(0))

    stream = model.stream(images(), batch_size=4)
    assert [next(stream).place for _ in range(5)] == [0, 1, 2, 3, 4]
    stream.close()  # type: ignore[attr-defined]
    assert read <= 16 + 4


def test_an_error_of_the_source_comes_through(model: OnnxModel) -> None:
    def images() -> Iterator[NDArray[np.uint8]]:
        yield picture(0)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        list(model.stream(images()))


def test_the_header_says_what_a_file_will_take(model: OnnxModel, tmp_path: Path) -> None:
    pixels = picture(0)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    preprocess = model.spec["preprocess"]
    assert pixel_bytes(path, preprocess) == pixel_bytes(path.read_bytes(), preprocess) == model.read(path).nbytes
    assert pixel_bytes(path, {"size": [32, 32], "channels": 1, "dtype": "float32"}) == 6 * 5 * 4
    assert pixel_bytes(b"no image", preprocess) is None
    assert pixel_bytes(tmp_path / "missing.png", preprocess) is None


@pytest.mark.parametrize(
    "photograph", [np.zeros((12, 10, 3), np.uint8), np.zeros((12, 10, 1), np.uint8), np.zeros((9, 9), np.uint8)]
)
def test_one_photograph_is_not_taken_for_its_rows(model: OnnxModel, photograph: NDArray[Any]) -> None:
    for ask in (model.predict, model.stream):
        with pytest.raises(ImageError, match="is one image, not several; put it into a list"):
            ask(photograph)
        for single in ("a.png", Path("a.png"), b"bytes"):
            with pytest.raises(ImageError, match="one image, not several"):
                ask(single)  # type: ignore[arg-type]
    assert len(model.predict(photograph[None])["logits"]) == 1 if photograph.ndim == 3 else True
    assert len(model.predict(np.zeros((5, 12, 10), np.uint8))["logits"]) == 5


def test_a_batch_size_below_one_is_refused(model: OnnxModel) -> None:
    for images in ([picture(0)], torch.zeros((5, 4, 4, 3), dtype=torch.uint8)):
        for batch_size in (0, -1):
            with pytest.raises(ConfigError, match=f"batch_size {batch_size}"):
                model.predict(images, batch_size=batch_size)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"batch_size": 0}, ConfigError),
        ({"batch_size": 8, "window": 7}, ConfigError),
        ({"max_bytes": 0}, ConfigError),
        ({"on_error": "ignore"}, UnknownNameError),
    ],
)
def test_wrong_options_are_one_line(model: OnnxModel, wrong: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        list(model.stream([picture(0)], **wrong))  # type: ignore[arg-type]


def test_nothing_in_nothing_out(model: OnnxModel) -> None:
    assert list(model.stream([])) == []
    assert model.predict([])["logits"].shape == (0, 2)
    assert model.predict(torch.zeros((0, 4, 4, 3), dtype=torch.uint8))["probabilities"].shape == (0, 2)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_bound_batch_says_the_same(model: OnnxModel, kind: str) -> None:
    images = [picture(i) for i in range(5)]
    batch = np.stack(images)
    given = batch if kind == "numpy" else torch.from_numpy(batch)
    for size in (5, 2):  # a smaller batch after a larger one: outputs take their own shape
        outputs = model.run_batch(given[:size])
        assert set(outputs) == {"logits", "probabilities"}
        assert outputs["logits"].device_name() == "cpu"
        close(outputs["logits"].numpy(), images[:size])
        close(torch.from_dlpack(outputs["logits"]).numpy(), images[:size])
    if kind == "torch":
        close(model.predict(given, batch_size=2)["logits"], images)


def test_a_torch_tensor_is_read_where_it_is(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its address: nothing is copied to NumPy on the way in."""
    tensor = torch.from_numpy(np.stack([picture(i) for i in range(3)]))
    monkeypatch.setattr(torch.Tensor, "numpy", lambda *_, **__: pytest.fail("the tensor was copied"))
    monkeypatch.setattr(torch.Tensor, "__array__", lambda *_, **__: pytest.fail("the tensor was copied"))
    close(model.run_batch(tensor)["logits"].numpy(), [picture(i) for i in range(3)])


def test_a_batch_of_the_wrong_kind_is_one_line(model: OnnxModel) -> None:
    good = torch.zeros((2, 4, 4, 3), dtype=torch.uint8)
    for bad in (good[0], good[..., :1], good.float(), np.zeros((2, 4, 4, 3), np.float32)):
        with pytest.raises(ImageError, match=r"\(N, H, W, 3\) uint8"):
            model.run_batch(bad)
    with pytest.raises(ImageError, match="contiguous"):
        model.run_batch(good.permute(0, 2, 1, 3)[:, 1:])
    with pytest.raises(ProviderError, match="meta"):
        model.run_batch(good.to("meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda is not available")
def test_a_cuda_tensor_is_answered_on_its_device(model: OnnxModel, tmp_path: Path) -> None:
    images = [picture(i) for i in range(5)]
    tensor = torch.from_numpy(np.stack(images)).cuda()
    with pytest.raises(ProviderError, match="cuda:0"):
        model.run_batch(tensor)
    on_gpu = OnnxModel(write(tmp_path / "m.onnx"), provider="cuda")
    outputs = on_gpu.run_batch(tensor)
    assert outputs["logits"].device_name() == "cuda"
    assert torch.from_dlpack(outputs["logits"]).device == tensor.device
    for found in (outputs["logits"].numpy(), on_gpu.predict(tensor, batch_size=2)["logits"], on_gpu.predict(images)["logits"]):
        np.testing.assert_allclose(found, expected_logits(images), rtol=1e-3, atol=1e-2)


def test_warming_up_runs_and_changes_nothing(model: OnnxModel, exported: Path) -> None:
    before = model.predict([picture(3)])["logits"]
    model.warm_up(3, batch_size=2)
    np.testing.assert_array_equal(model.predict([picture(3)])["logits"], before)
    OnnxModel(exported).warm_up()
    with pytest.raises(ConfigError, match="at least 1"):
        model.warm_up(0)


def test_a_source_may_use_its_buffer_again(model: OnnxModel) -> None:
    images = [picture(i) for i in range(6)]

    def camera() -> Iterator[NDArray[np.uint8]]:
        buffer = np.empty_like(images[0])
        for image in images:
            buffer[:] = image
            yield buffer

    close(logits(list(model.stream(camera(), batch_size=4))), images)


def test_what_comes_before_an_error_is_answered(model: OnnxModel) -> None:
    good = picture(0)

    def broken() -> Iterator[NDArray[np.uint8]]:
        yield from [good] * 3
        raise RuntimeError("the scanner is gone")

    for source, error in ((broken(), RuntimeError), (iter([good, good, good, CORRUPT, good]), ImageError)):
        answered, predictions = [], model.stream(source, batch_size=2)
        with pytest.raises(error):
            deque(map(answered.append, (prediction.place for prediction in predictions)), maxlen=0)
        assert answered == [0, 1, 2]


def test_a_name_with_a_null_byte_is_skipped_by_name(model: OnnxModel) -> None:
    found = list(model.stream(["a\0b.png", picture(0)], on_error="skip"))
    assert "cannot be read" in str(found[0].error)
    assert found[1].error is None


@pytest.mark.parametrize(
    "single",
    ["a.png", Path("a.png"), b"png", np.zeros((8, 8), np.uint8), Image.fromarray(picture(0)), (picture(i) for i in range(2))],
)
def test_a_single_image_is_not_taken_for_several(model: OnnxModel, single: object) -> None:
    with pytest.raises(ImageError, match="list"):
        model.predict(single)
