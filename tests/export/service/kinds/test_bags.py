"""Bags over the network: the images of a request are one case, answered as `OnnxModel.predict_cases` does, with attention."""

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

from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.limits import Limits
from tests.export.service.served import running, service
from tests.export.service.several import SHOWN, bags, rows
from tests.export.service.test_predict import answered, png, row

CASE = [png(20), png(200), png(120)]
TWO = np.zeros((2, 4, 4, 1), np.uint8)
FEATURES = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def npy(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bags")
    return bags(folder / "films.onnx"), rows(folder / "slides.onnx")


@pytest.fixture(scope="module")
def client(files: tuple[Path, Path]) -> Iterator[httpx.Client]:
    with running(service(*files, limits=Limits(images=8, pixels=10_000))) as address, httpx.Client(base_url=address) as client:
        yield client


def post(client: httpx.Client, images: list[bytes], **options: str) -> httpx.Response:
    parts = [("image", (f"{place}.png", data)) for place, data in enumerate(images)]
    return client.post("/predict", files=parts, data={"model": "films", **options})


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("views", [None, ["PA", None, "lateral"]])
def test_all_images_of_a_request_are_one_case(
    count: int, views: list[str | None] | None, client: httpx.Client, files: tuple[Path, Path]
) -> None:
    options = {} if views is None else {"views": json.dumps(views[:count])}
    (answer,) = answered(post(client, CASE[:count], preview="true", **options))
    case: Any = CASE[:count] if views is None else {"images": CASE[:count], "views": views[:count]}
    wanted = OnnxModel(files[0], threads=1).predict_cases([case])
    assert np.array_equal(row(answer, "logits"), wanted["logits"][0])
    assert np.array_equal(np.array(answer["attention"], np.float32), wanted["attention"][0])
    assert answer["images"] == [f"{place}.png" for place in range(count)]
    assert len(answer["previews"]) == count


def test_json_is_the_same_case(client: httpx.Client) -> None:
    images = [{"data": base64.b64encode(data).decode()} for data in CASE]
    (form,) = answered(post(client, CASE))
    (plain,) = answered(client.post("/predict", json={"images": images, "model": "films"}))
    (named,) = answered(client.post("/predict", json={"sample": {"image": images, "views": [None] * 3}, "model": "films"}))
    assert form["attention"] == plain["attention"] == named["attention"]
    assert form["logits"] == plain["logits"] == named["logits"]


def test_cases_of_several_sizes_run_together_and_stay_what_they_are(client: httpx.Client, files: tuple[Path, Path]) -> None:
    model = OnnxModel(files[0], threads=1)
    chosen = [CASE[:1], CASE[:2], CASE, [png(90, side=9), png(10, side=9)]]
    wanted = [model.predict_cases([case]) for case in chosen]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: answered(post(client, chosen[place % 4]))[0], range(24)))
    for place, answer in enumerate(found):
        one = wanted[place % 4]
        np.testing.assert_allclose(row(answer, "logits"), one["logits"][0], atol=1e-6)
        np.testing.assert_allclose(answer["attention"], one["attention"][0], atol=1e-6)


def test_rows_of_features_are_files(client: httpx.Client, files: tuple[Path, Path]) -> None:
    wanted = OnnxModel(files[1], threads=1).predict_cases([[FEATURES, FEATURES[:2]]])
    parts = [("members", ("a.npy", npy(FEATURES))), ("members", ("b.npy", npy(FEATURES[:2].astype(np.float64))))]
    (answer,) = answered(client.post("/predict", files=parts, data={"model": "slides"}))
    assert answer["members"] == ["a.npy", "b.npy"]
    assert np.array_equal(row(answer, "logits"), wanted["logits"][0])
    assert np.array_equal(np.array(answer["attention"], np.float32), wanted["attention"][0])
    (raw,) = answered(
        client.post("/predict?model=slides", content=npy(FEATURES), headers={"content-type": "application/octet-stream"})
    )
    assert len(raw["attention"]) == 4


def test_the_model_says_what_it_takes(client: httpx.Client) -> None:
    films, slides = (client.get(f"/model?model={name}").json() for name in ("films", "slides"))
    assert films["takes"] == slides["takes"] == "bags"
    assert films["bag"] == {"part": "image", "of": "images", "views": list(SHOWN), "attention": True}
    assert slides["bag"] == {"part": "members", "of": "rows", "width": 3, "views": [], "attention": True}
    assert any("Attention" in line for line in films["limits"])


@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        ([], {}, "no image is in the request"),
        ([png(1), png(1, side=9)], {}, "the images of a case are of 8x8 and 9x9 pixels"),
        ([png(1)] * 2, {"views": '["PA"]'}, "case 0 has 2 images and 1 views"),
        ([png(1)], {"views": '["AP"]'}, "unknown view 'AP' of case 0; known: PA, lateral"),
        ([png(1)], {"views": "PA"}, "views is no JSON"),
        ([png(1)], {"views": '"PA"'}, "views is no list of words"),
        ([png(1)], {"views": "[[1]]"}, "views is no list of words"),
        ([png(1)], {"note": "x"}, "unknown option 'note'"),
        ([png(1), b"hello"], {}, "1.png: not a PNG"),
        ([png(1)] * 9, {}, "iles"),
        ([png(1, side=200)], {}, "40,000 pixels are more than the 10,000"),
    ],
)
def test_cases_that_cannot_be_are_refused(client: httpx.Client, images: list[bytes], options: dict[str, str], said: str) -> None:
    found = post(client, images, **options) if images else client.post("/predict", files={"model": (None, "films")})
    assert 400 <= found.status_code < 500, found.text
    assert said in found.json()["error"]
    assert "\n" not in found.json()["error"]


HEADER = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"
BAD: dict[str, tuple[bytes, str]] = {
    "no file": (b"hello", "is no .npy file"),
    "empty": (b"", "is no .npy file"),
    "cut": (npy(FEATURES)[:-3], "is no .npy file"),
    "a bomb": ((HEADER % b"1000000000, 1000000").ljust(128, b" ") + b"\n", "is no .npy file"),
    "pickled": (npy(np.array([[{}]], dtype=object), allow_pickle=True), "is not rows of numbers"),
    "flat": (npy(FEATURES[0]), "is not rows of numbers"),
    "turned": (npy(np.asfortranarray(FEATURES)), "is not rows of numbers"),
    "no rows": (npy(FEATURES[:0]), ""),
    "too wide": (npy(np.zeros((2, 4), np.float32)), "members of 4 features, the model takes 3"),
    "no numbers": (npy(FEATURES * np.nan), "not finite"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_no_rows_are_refused(kind: str, client: httpx.Client) -> None:
    data, said = BAD[kind]
    found = client.post("/predict", files={"members": ("a.npy", data)}, data={"model": "slides"})
    assert found.status_code == 422, found.text
    assert said in found.json()["error"]


def infer(client: httpx.Client, name: str, **tensors: np.ndarray) -> httpx.Response:
    kinds = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}
    inputs = [
        {"name": key, "shape": list(value.shape), "datatype": kinds[str(value.dtype)], "data": value.ravel().tolist()}
        for key, value in tensors.items()
    ]
    return client.post(f"/v2/models/{name}/infer", json={"inputs": inputs})


def test_the_graphs_own_tensors_go_by_the_open_inference_protocol(client: httpx.Client, files: tuple[Path, Path]) -> None:
    told = client.get("/v2/models/films").json()["inputs"]
    assert [one["name"] for one in told] == ["image", "counts", "views"]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    given = {"image": pixels, "counts": np.array([1, 2]), "views": np.array([0, 1, 2])}
    found = {one["name"]: one for one in infer(client, "films", **given).json()["outputs"]}
    cases = [{"images": pixels[:1], "views": [None]}, {"images": pixels[1:], "views": ["PA", "lateral"]}]
    wanted = OnnxModel(files[0], threads=1).predict_cases(cases)
    np.testing.assert_allclose(found["logits"]["data"], wanted["logits"][:, 0], rtol=1e-6)
    assert found["attention"]["shape"] == [3]
    np.testing.assert_allclose(found["attention"]["data"], wanted["attention"][~np.isnan(wanted["attention"])], rtol=1e-6)
    said = infer(client, "slides", members=FEATURES, counts=np.array([4])).json()["outputs"]
    assert said[0]["data"] == OnnxModel(files[1], threads=1).predict_cases([FEATURES])["logits"].ravel().tolist()


@pytest.mark.parametrize(
    ("name", "tensors", "said"),
    [
        ("films", {"image": TWO}, "input 'counts' is missing"),
        ("films", {"counts": np.array([1])}, "input 'image' is missing"),
        ("films", {"image": TWO, "counts": np.array([1])}, "input 'counts' is no INT64"),
        ("films", {"image": TWO, "counts": np.array([3, -1])}, "input 'counts' is no INT64"),
        ("films", {"image": TWO, "counts": np.array([2**63 - 1, 2**63 - 1, 4])}, "input 'counts' is no INT64"),
        (
            "films", {"image": np.zeros((1, 4, 4, 1), np.uint8), "counts": np.array([1]), "views": np.array([3])},
            "input 'views' holds the place of none of its words",
        ),
        ("films", {"image": np.zeros((9, 1, 1, 1), np.uint8), "counts": np.array([9])}, "9 images are more than the 8"),
        ("slides", {"members": FEATURES, "counts": np.array([4]), "views": np.zeros(4, np.int64)}, "unknown input"),
        ("slides", {"members": np.zeros((2, 4), np.float32), "counts": np.array([2])}, "members of 4 features"),
    ],
)  # fmt: skip
def test_tensors_that_cannot_be_are_refused(client: httpx.Client, name: str, tensors: dict[str, np.ndarray], said: str) -> None:
    found = infer(client, name, **tensors)
    assert 400 <= found.status_code < 500, found.text
    assert said in found.json()["error"]
