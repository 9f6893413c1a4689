"""What the service answers is what `OnnxModel` answers: to the last bit, in every form, alone and among strangers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from medzoo.demo.shipped import HOME
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.about import card, measured
from medzoo.export.service.limits import Limits
from tests.export.service.models import CLASSES, CONCEPTS, bottleneck, open_classes, text_tower
from tests.export.service.served import running, service


def png(level: int, side: int = 8, mode: str = "L") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (side, side), level if mode == "L" else (level, 20, 30)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("serve")
    made = {"levels": bottleneck, "colours": open_classes, "text": text_tower}
    return {name: make(folder / f"{name}.onnx") for name, make in made.items()}


@pytest.fixture(scope="module")
def client(files: dict[str, Path]) -> Iterator[httpx.Client]:
    with running(service(*files.values(), HOME / "model.onnx")) as address, httpx.Client(base_url=address) as client:
        yield client


def answered(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def row(answer: dict[str, Any], key: str) -> np.ndarray:
    return np.array(list(answer[key].values()), np.float32)


@pytest.mark.parametrize("form", ["multipart", "json", "raw"])
def test_every_form_is_answered_as_the_runtime_answers_to_the_last_bit(
    form: str, client: httpx.Client, files: dict[str, Path]
) -> None:
    data = png(90)
    if form == "multipart":
        parts = [("image", ("a.png", data)), ("image", ("b.png", png(200)))]
        found = client.post("/predict", files=parts, data={"model": "levels", "map": "true"})
    elif form == "json":
        images = [{"data": base64.b64encode(one).decode(), "name": name} for name, one in (("a.png", data), ("b.png", png(200)))]
        found = client.post("/predict", json={"images": images, "model": "levels", "map": True})
    else:
        found = client.post("/predict?model=levels&map=true", content=data, headers={"content-type": "image/png"})
    results = answered(found)
    wanted = OnnxModel(files["levels"]).predict([data, png(200)][: len(results)])
    assert [answer["image"] for answer in results] == (["image 0"] if form == "raw" else ["a.png", "b.png"])
    for place, answer in enumerate(results):
        for key in ("logits", "probabilities", "concepts"):
            assert np.array_equal(row(answer, key), wanted[key][place])
        assert np.array_equal(np.array(list(answer["map"].values()), np.float32), wanted["map"][place])
        assert list(answer["map"]) == list(CONCEPTS)
        assert answer["prediction_set"] == [
            name for name, inside in zip(CLASSES, wanted["prediction_set"][place], strict=True) if inside
        ]
        assert answer["calls"]["youden"]["bright"] is None
        assert answer["calls"]["youden"]["dark"] == bool(wanted["calls"][place, 0, 0])


def test_an_image_alone_and_among_strangers_is_the_batch_it_ran_in(client: httpx.Client) -> None:
    """ONNX Runtime multiplies one row in another order than several: there are two answers, `predict`'s of one and of many."""
    images = [path.read_bytes() for path in sorted(HOME.glob("*.png"))]
    model = OnnxModel(HOME / "model.onnx")
    together = model.predict(images)["logits"]
    alone = np.concatenate([model.predict([image])["logits"] for image in images])
    assert np.array_equal(model.predict(images[:2])["logits"], together[:2])

    def ask(place: int) -> np.ndarray:
        return row(answered(client.post("/predict", files={"image": images[place]}, data={"model": "model"}))[0], "logits")

    places = [place % len(images) for place in range(48)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, places))
    for place, logits in zip(places, found, strict=True):
        assert np.array_equal(logits, together[place]) or np.array_equal(logits, alone[place])
    sizes = next(line for line in client.get("/metrics").text.splitlines() if 'le="1.0",model="model"' in line)
    batches = next(line for line in client.get("/metrics").text.splitlines() if 'batch_images_count{model="model"}' in line)
    assert float(sizes.split()[-1]) < float(batches.split()[-1])  # some did share a batch


@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_has_two_answers_at_most_whatever_it_runs_with(threads: int) -> None:
    """Alone, and beside others; one left over when a batch is cut into pieces is alone."""
    model = OnnxModel(HOME / "model.onnx", threads=threads)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 1), dtype=np.uint8)
    alone = [model.answer(pixels[place : place + 1])["logits"][0] for place in range(9)]
    beside = [model.answer(pixels[[place, place - 1]])["logits"][0] for place in range(9)]
    for count in range(2, 10):
        for place, logits in enumerate(model.answer(pixels[:count])["logits"]):
            assert np.array_equal(logits, beside[place]) or np.array_equal(logits, alone[place])


def test_with_batches_of_one_every_answer_is_that_of_the_image_alone() -> None:
    images = [path.read_bytes() for path in sorted(HOME.glob("*.png"))]
    model = OnnxModel(HOME / "model.onnx")
    with running(service(HOME / "model.onnx", limits=Limits(batch=1))) as address, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: answered(httpx.post(f"{address}/predict", files={"image": image}))[0], images))
    for image, answer in zip(images, found, strict=True):
        assert np.array_equal(row(answer, "logits"), model.predict([image])["logits"][0])


def test_corrected_concepts_are_those_of_the_request_alone(client: httpx.Client, files: dict[str, Path]) -> None:
    model, data = OnnxModel(files["levels"]), png(60)

    def ask(value: float | None) -> dict[str, Any]:
        concepts = {} if value is None else {"concepts": json.dumps({"flat": value})}
        return answered(client.post("/predict", files={"image": data}, data={"model": "levels", **concepts}))[0]

    values = [None, 0.0, 0.25, 1.0] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, values))
    for value, answer in zip(values, found, strict=True):
        wanted = model.predict([data], concept_values=None if value is None else {"flat": value})
        assert np.array_equal(row(answer, "logits"), wanted["logits"][0])


def test_classes_typed_by_hand_are_those_of_the_tower_beside(client: httpx.Client, files: dict[str, Path]) -> None:
    data = png(250, mode="RGB")
    asked = {"model": "colours", "classes": json.dumps(["blue", "red"]), "templates": json.dumps(["{}"])}
    (answer,) = answered(client.post("/predict", files={"image": data}, data=asked))
    vectors = OnnxModel(files["text"]).class_embeddings({"blue": ["blue"], "red": ["red"]})
    wanted = OnnxModel(files["colours"]).predict([data], class_embeddings=vectors)
    assert answer["class"] == "red"
    assert np.array_equal(row(answer, "probabilities"), wanted["probabilities"][0])
    refused = client.post("/predict", files={"image": data}, data={"model": "colours"})
    assert (refused.status_code, "told its classes" in refused.json()["error"]) == (422, True)


def test_the_model_is_described_in_words_and_numbers(client: httpx.Client) -> None:
    told = client.get("/model?model=levels").json()
    assert told["labels"]["names"] == list(CLASSES)
    assert told["concepts"]["names"] == list(CONCEPTS)
    assert told["map_of"] == "concepts"
    assert told["operating_points"]["youden"] == {"dark": 0.5, "grey": pytest.approx(0.26894, abs=1e-5), "bright": None}
    assert "not a medical device" in told["limits"][-1]
    shipped = client.get("/model?model=model").json()
    assert shipped["test"]["figures"]["auroc"]["value"] == pytest.approx(0.957, abs=1e-3)
    assert shipped["proof"]["parity"]["agreement"] == 1.0
    assert client.get("/models").json() == {"models": ["levels", "colours", "model"]}


@pytest.mark.parametrize(
    ("written", "taken"),
    [("---\nlicence: x\n---\n# Card", True), ("# Notes of mine", False), ("---\n" + "x" * 200_000, False), (None, False)],
)
def test_a_card_beside_the_file_is_given_and_other_texts_are_not(written: str | None, taken: bool, tmp_path: Path) -> None:
    if written is not None:
        (tmp_path / "README.md").write_text(written)
    assert card(tmp_path / "README.md") == (written if taken else None)


def test_figures_of_other_weights_are_not_repeated(tmp_path: Path) -> None:
    path = HOME / "metrics.json"
    weights = json.loads(path.read_text())["details"]["weights"]
    assert measured(path, weights) is not None
    assert measured(path, "0" * 64) is None
    assert measured(path, None) is None
    assert measured(tmp_path / "metrics.json", weights) is None


def test_several_models_are_told_apart_and_none_is_assumed(client: httpx.Client) -> None:
    refused = client.post("/predict", files={"image": png(1)})
    assert (refused.status_code, "several models" in refused.json()["error"]) == (422, True)
    missing = client.post("/predict", files={"image": png(1)}, data={"model": "none"})
    assert (missing.status_code, "levels, colours, model" in missing.json()["error"]) == (404, True)


def test_what_the_model_got_is_shown_upright(client: httpx.Client) -> None:
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:, 4:] = 255  # bright on the right
    image, data = Image.fromarray(pixels), io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: the right side is the bottom
    image.save(data, "TIFF", exif=exif)
    (answer,) = answered(client.post("/predict", files={"image": data.getvalue()}, data={"model": "levels", "preview": "true"}))
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["preview"]))))
    assert shown.shape == (8, 4)
    assert shown[:4].max() == 0
    assert shown[4:].min() == 255
