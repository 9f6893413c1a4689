"""Samples of several modalities over the network: whatever is missing, what `OnnxModel.predict` says to the last bit."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.limits import Limits
from tests.export.service.served import running, service
from tests.export.service.several import CLASSES, modalities
from tests.export.service.test_predict import answered, png, row

GRAY, OTHER, COLOUR = png(90), png(200, side=11), png(30, mode="RGB")
NAMES = ("image", "second", "note", "inputs")
SAMPLE: dict[str, Any] = {"image": [GRAY, OTHER], "second": COLOUR, "note": "red, GREEN", "inputs": {"age": 0.25, "sex": "male"}}
LIMITS = Limits(images=8, pixels=100_000)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return modalities(tmp_path_factory.mktemp("samples") / "several.onnx")


@pytest.fixture(scope="module")
def model(file: Path) -> OnnxModel:
    return OnnxModel(file, threads=1)


@pytest.fixture(scope="module")
def client(file: Path) -> Iterator[httpx.Client]:
    with running(service(file, limits=LIMITS)) as address, httpx.Client(base_url=address) as client:
        yield client


def files_of(value: Any) -> list[bytes]:
    return value if isinstance(value, list) else [value]


def by_form(client: httpx.Client, sample: dict[str, Any], **options: str) -> httpx.Response:
    images = ((name, sample[name]) for name in ("image", "image_2", "second") if name in sample)
    parts = [(name, (f"{name}-{place}.png", one)) for name, value in images for place, one in enumerate(files_of(value))]
    fields = {name: sample[name] for name in ("note",) if name in sample} | options
    if "inputs" in sample:
        fields["inputs"] = json.dumps(sample["inputs"])
    return client.post("/predict", files=parts, data=fields) if parts else by_fields(client, fields)


def by_fields(client: httpx.Client, fields: dict[str, str]) -> httpx.Response:
    """Send a form without any file."""
    return client.post("/predict", files={name: (None, value) for name, value in fields.items()})


def by_json(client: httpx.Client, sample: dict[str, Any], **options: Any) -> httpx.Response:
    def file_of(data: bytes) -> dict[str, str]:
        return {"data": base64.b64encode(data).decode(), "name": "a.png"}

    told = {
        name: [file_of(one) for one in value]
        if isinstance(value, list)
        else file_of(value)
        if isinstance(value, bytes)
        else value
        for name, value in sample.items()
    }
    return client.post("/predict", json={"sample": told, **options})


@pytest.mark.parametrize("there", [kept for kept in product((True, False), repeat=4) if any(kept)])
@pytest.mark.parametrize("ask", [by_form, by_json])
def test_whatever_is_there_is_answered_as_the_runtime_answers_to_the_last_bit(
    ask: Any, there: tuple[bool, ...], client: httpx.Client, model: OnnxModel
) -> None:
    sample = {name: SAMPLE[name] for name, here in zip(NAMES, there, strict=True) if here}
    (answer,) = answered(ask(client, sample))
    wanted = model.predict(sample)
    assert np.array_equal(row(answer, "logits"), wanted["logits"][0])
    assert np.array_equal(row(answer, "probabilities"), wanted["probabilities"][0])
    lacks = [name for name, here in zip(NAMES, there, strict=True) if not here]
    assert answer["missing"] == [name for name in lacks if name != "inputs"] + ["inputs.age", "inputs.sex"] * ("inputs" in lacks)
    assert list(answer["given"]["images"]) == [name for name in ("image", "second") if name in sample]
    assert answer["given"]["texts"] == ["note"] * ("note" in sample)
    assert answer["given"]["inputs"] == ["age", "sex"] * ("inputs" in sample)


def test_one_file_as_the_body_is_the_first_modality(client: httpx.Client, model: OnnxModel) -> None:
    (answer,) = answered(client.post("/predict", content=GRAY, headers={"content-type": "image/png"}))
    assert np.array_equal(row(answer, "logits"), model.predict({"image": GRAY})["logits"][0])
    assert answer["missing"] == ["second", "note", "inputs.age", "inputs.sex"]


def test_views_by_one_name_or_by_their_own_are_the_same(client: httpx.Client, model: OnnxModel) -> None:
    (one,) = answered(by_form(client, {"image": [GRAY, OTHER]}))
    (two,) = answered(by_form(client, {"image": GRAY, "image_2": OTHER}))
    assert np.array_equal(row(one, "logits"), row(two, "logits"))
    assert np.array_equal(row(one, "logits"), model.predict({"image": [GRAY, OTHER]})["logits"][0])


def test_texts_and_values_may_be_files_and_what_the_model_got_is_shown(client: httpx.Client, model: OnnxModel) -> None:
    parts = [
        ("note", ("n.txt", b"blue red")),
        ("inputs", ("v.json", b'{"age": "0.5", "sex": null}')),
        ("second", ("c.png", COLOUR)),
    ]
    (answer,) = answered(client.post("/predict", files=parts, data={"preview": "true"}))
    wanted = model.predict({"note": "blue red", "inputs": {"age": 0.5}, "second": COLOUR})
    assert np.array_equal(row(answer, "logits"), wanted["logits"][0])
    assert {name: len(shown) for name, shown in answer["previews"].items()} == {"second": 1}
    assert answer["missing"] == ["image", "inputs.sex"]


def test_samples_that_lack_different_things_share_batches_and_stay_what_they_are(file: Path, model: OnnxModel) -> None:
    """Presence is a row of the masks, so that it parts no batch; the sizes of images do."""
    chosen = [{"image": GRAY}, {"image": GRAY, "note": "red"}, {"image": GRAY, "inputs": {"age": 2}}, SAMPLE]
    alone = [model.predict(sample)["logits"][0] for sample in chosen]
    beside = [model.predict([sample, sample])["logits"][0] for sample in chosen]
    with running(service(file, limits=Limits(wait=20))) as address, httpx.Client(base_url=address) as client:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda place: row(answered(by_form(client, chosen[place % 4]))[0], "logits"), range(48)))
        lines = client.get("/metrics").text.splitlines()
    for place, logits in enumerate(found):
        assert np.array_equal(logits, alone[place % 4]) or np.array_equal(logits, beside[place % 4])
    batches, single = (
        float(next(line for line in lines if start in line).split()[-1])
        for start in ('batch_images_count{model="several"}', 'batch_images_bucket{le="1.0",model="several"}')
    )
    assert single < batches < 48


def test_the_model_says_what_it_takes(client: httpx.Client) -> None:
    told = client.get("/model").json()
    assert told["takes"] == "samples"
    assert told["modalities"]["texts"] == ["note"]
    assert told["modalities"]["inputs"] == {"age": "number", "sex": ["female", "male"]}
    assert {name: (one["takes"], one["views"]) for name, one in told["modalities"]["images"].items()} == {
        "image": ("images", 2), "second": ("images", 1),
    }  # fmt: skip
    assert "image_2_mask" in told["inputs"]
    assert any("left out" in line for line in told["limits"])
    form = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"][
        "schema"
    ]
    assert {*NAMES} <= {*form["properties"]}
    assert "sex: female | male" in form["properties"]["inputs"]["description"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown part": ({"nte": "x"}, "unknown part 'nte'; did you mean 'note'?"),
    "a long unknown part": ({"n" * 5000: "x"}, "unknown part 'nnn"),
    "a word never seen": ({"inputs": {"sex": "diverse"}}, "which is left empty where it is missing; known: female, male"),
    "an unknown value": ({"inputs": {"agee": 1}}, "unknown input 'agee'; did you mean 'age'?"),
    "true for a number": ({"inputs": {"age": True}}, "inputs.age is true; give a number, such as 1 or 0"),
    "false for a word": ({"inputs": {"sex": False}}, "inputs.sex is false; give one of its words, as text"),
    "no number": ({"inputs": {"age": "old"}}, "input 'age' is 'old', which is no number"),
    "a number without end": ({"inputs": {"age": 10**400}}, "which is no number"),
    "a number beyond float32": ({"inputs": {"age": 1e39}}, "which is no number"),
    "infinite": ({"inputs": {"age": float("inf")}}, "Infinity is no number of JSON"),
    "a list for a value": ({"inputs": {"age": [1]}}, "inputs.age is no number and no word"),
    "a novel for a word": ({"inputs": {"sex": "x" * 900}}, "inputs.sex is no number and no word"),
    "no values by name": ({"inputs": [1, 2]}, "inputs is no object of values by name"),
    "nothing": ({"note": "  "}, "nothing is given of a sample"),
    "too many views": ({"image": [GRAY] * 3}, "image has 3 images, and the model takes up to 2"),
    "two of one": ({"second": [COLOUR] * 2}, "second has 2 images, and the model takes up to 1"),
    "views by both names": ({"image": [GRAY] * 2, "image_2": GRAY}, "modality 'image' has 3 images"),
    "more images than are taken": ({"image": [GRAY] * 9}, ""),
    "a text for an image": ({"second": "x"}, "second is an image: send it as a file"),
    "no image": ({"image": b"hello"}, "image: a.png: not a PNG"),
    "too large": ({"second": png(1, side=400, mode="RGB")}, "second: a.png: 160,000 pixels are more than the 100,000"),
    "half a letter": ({"note": "\ud800"}, "note is no text"),
    "a library": ({"note": "x" * 70_000}, "note has 70,000 characters, more than the 65,536"),
    "a number for a text": ({"note": 5}, "note is no text"),
    "no images": ({"image": []}, "sample.image is an empty list"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(kind: str, client: httpx.Client) -> None:
    sample, said = REFUSED[kind]
    body = {
        name: [{"data": base64.b64encode(one).decode(), "name": "a.png"} for one in value]
        if isinstance(value, list) and all(isinstance(one, bytes) for one in value)
        else {"data": base64.b64encode(value).decode(), "name": "a.png"} if isinstance(value, bytes) else value
        for name, value in sample.items()
    }  # fmt: skip
    content = json.dumps({"sample": body})
    found = client.post("/predict", content=content, headers={"content-type": "application/json"})
    assert 400 <= found.status_code < 500, found.text
    error = found.json()["error"]
    assert said in error
    assert "\n" not in error
    assert len(error) <= 500
    answered(by_form(client, {"image": GRAY}))  # the next is served


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"inputs": "{"}, "inputs is no JSON"), ({"inputs": "[" * 30_000}, "inputs is no JSON"), ({"inputs": "5"}, "no object"),
        ({"image": "text"}, "image is an image: send it as a file"), ({"concepts": '{"flat": 1}', "note": "a"}, "no concepts"),
        ({"map": "true", "note": "a"}, "has no map"), ({"classes": '["a", "b"]', "note": "a"}, "takes no classes"),
    ],
)  # fmt: skip
def test_forms_that_cannot_be_are_refused(fields: dict[str, str], said: str, client: httpx.Client) -> None:
    found = by_fields(client, fields)
    assert 400 <= found.status_code < 500
    assert said in found.json()["error"]


def as_json(name: str, value: bytes) -> str:
    """Return an element of BYTES as JSON has it: text as it is, files in base64."""
    return value.decode("latin-1") if name == "note" else base64.b64encode(value).decode()


def infer(client: httpx.Client, **tensors: Any) -> httpx.Response:
    kinds = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}
    inputs = [
        {"name": name, "shape": [len(value)], "datatype": "BYTES", "data": [as_json(name, one) for one in value]}
        if isinstance(value, list)
        else {"name": name, "shape": list(value.shape), "datatype": kinds[str(value.dtype)], "data": value.ravel().tolist()}
        for name, value in tensors.items()
    ]
    content = json.dumps({"inputs": inputs})
    return client.post("/v2/models/several/infer", content=content, headers={"content-type": "application/json"})


def test_tensors_and_masks_of_the_open_inference_protocol(client: httpx.Client, model: OnnxModel) -> None:
    told = client.get("/v2/models/several").json()["inputs"]
    assert {"name": "second", "datatype": "UINT8", "shape": [-1, -1, -1, 3]} in told
    assert {"name": "note", "datatype": "BYTES", "shape": [-1]} in told
    assert {"name": "image_2_mask", "datatype": "FP32", "shape": [-1, 1]} in told
    assert {"name": "inputs", "datatype": "FP32", "shape": [-1, 2]} in told
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 9, 1), dtype=np.uint8)
    given = {
        "image": pixels, "image_mask": np.array([[1], [0]], np.float32), "note": [b"red", b"blue"],
        "second": [COLOUR, png(80, mode="RGB")], "inputs": np.array([[0.5, 1], [np.nan, np.nan]], np.float32),
    }  # fmt: skip
    found = infer(client, **given)
    assert found.status_code == 200, found.text
    samples = [
        {"image": pixels[0], "note": "red", "second": COLOUR, "inputs": {"age": 0.5, "sex": "male"}},
        {"note": "blue", "second": png(80, mode="RGB")},
    ]
    wanted = np.concatenate([model.predict(sample)["logits"] for sample in samples])
    together = model.predict(samples)["logits"]
    logits = np.array(found.json()["outputs"][0]["data"], np.float32).reshape(2, 3)
    for one, alone, beside in zip(logits, wanted, together, strict=True):
        assert np.array_equal(one, alone) or np.array_equal(one, beside)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"second": np.zeros((1, 4, 4, 3), np.uint8), "note": [b"a", b"b"]}, "input 'note' has 2 rows, and the first 1"),
        ({"second": np.zeros((1, 4, 4, 3), np.float32)}, "input 'second' is no UINT8 of 4 dimensions"),
        ({"note": np.zeros((1, 4), np.int64)}, "input 'note' is no BYTES of texts"),
        ({"inputs": np.zeros((1, 3), np.float32)}, "input 'inputs' is no FP32 of shape [rows, 2]"),
        ({"inputs": np.array([[0, 2]], np.float32)}, "input 'sex' is 2, the place of none of its words (0 to 1)"),
        ({"inputs": np.array([[0, 0.5]], np.float32)}, "the place of none of its words"),
        ({"note": [b"a"], "note_mask": np.array([[0.5]], np.float32)}, "input 'note_mask' is no FP32 of shape [1, 1]"),
        ({"note": [b"a"], "note_mask": np.array([[0]], np.float32)}, "nothing is given of a sample"),
        ({"note": [b"a"] * 9}, "9 samples are more than the 8"),
        ({"nte": [b"a"]}, "unknown input 'nte'; several takes image, image_2, second, note"),
    ],
)
def test_tensors_that_cannot_be_are_refused(client: httpx.Client, tensors: dict[str, Any], said: str) -> None:
    found = infer(client, **tensors)
    assert 400 <= found.status_code < 500, found.text
    assert said in found.json()["error"]


def test_words_of_the_labels_are_in_the_answer(client: httpx.Client) -> None:
    (answer,) = answered(by_form(client, SAMPLE))
    assert answer["class"] in CLASSES


@pytest.mark.slow
def test_a_trained_model_with_volumes_is_answered_to_the_last_bit(fusion_exported: Path) -> None:
    model, rng = OnnxModel(fusion_exported, threads=1), np.random.default_rng(0)
    with running(service(fusion_exported)) as address, httpx.Client(base_url=address, timeout=60) as client:
        shown = client.get("/model").json()["modalities"]
        assert shown["images"]["volume"]["takes"] == "volumes"
        levels = png(int(rng.integers(256)), side=19)
        for sample in ({"image": levels, "second": levels}, {"second": levels, "inputs": {"flag": 1, "category": "north"}}):
            (answer,) = answered(by_form(client, sample))
            assert np.array_equal(row(answer, "logits"), model.predict(sample)["logits"][0])
            assert "volume" in answer["missing"]
