"""Regions over the network: what concepts lose of an image, or keep, as `OnnxModel.predict` is told it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from medzoo.export.runtime.model import OnnxModel
from tests.export.service.models import bottleneck, concept_maps
from tests.export.service.served import running, service
from tests.export.service.test_predict import answered, png, row

HALF = np.indices((8, 8))[1] < 4
REGIONS: dict[str, Any] = {
    "none": None, "a box": {"remove": [0, 0, 3, 5]}, "what is kept": {"within": [2, 2, 4, 4], "only": ["light"]},
    "a mask": {"remove": HALF.astype(int).tolist(), "only": ["flat"]}, "places": {"remove": [[True, False], [False, False]]},
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("regions")
    return concept_maps(folder / "maps.onnx"), bottleneck(folder / "levels.onnx")


@pytest.fixture(scope="module")
def client(files: tuple[Path, Path]) -> Iterator[httpx.Client]:
    with running(service(*files)) as address, httpx.Client(base_url=address) as client:
        yield client


def ask(client: httpx.Client, region: Any, model: str = "maps", **options: str) -> httpx.Response:
    given = {} if region is None else {"region": json.dumps(region)}
    return client.post("/predict", files={"image": ("a.png", png(90))}, data={"model": model, **given, **options})


@pytest.mark.parametrize("kind", REGIONS)
def test_a_region_is_what_predict_is_told(kind: str, client: httpx.Client, files: tuple[Path, Path]) -> None:
    model = OnnxModel(files[0], threads=1)
    (answer,) = answered(ask(client, REGIONS[kind]))
    wanted = model.predict([png(90)], regions=REGIONS[kind])
    assert np.array_equal(row(answer, "logits"), wanted["logits"][0])
    assert np.array_equal(row(answer, "concepts"), wanted["concepts"][0])
    plain = model.predict([png(90)])
    assert (kind in ("none", "places")) == np.array_equal(wanted["concepts"], plain["concepts"])
    (corrected,) = answered(ask(client, REGIONS[kind], concepts='{"flat": 1}'))
    told = model.predict([png(90)], regions=REGIONS[kind], concept_values={"flat": 1.0})
    assert np.array_equal(row(corrected, "logits"), told["logits"][0])


def test_each_request_has_its_own_and_one_that_cannot_be_takes_no_other_with_it(
    client: httpx.Client, files: tuple[Path, Path]
) -> None:
    model, nothing = OnnxModel(files[0], threads=1), {"remove": [[1, 1], [1, 1]]}
    chosen = [*REGIONS.values(), nothing]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: ask(client, chosen[place % 6]), range(36)))
    for place, response in enumerate(found):
        if place % 6 == 5:
            assert response.status_code == 422
            assert "a.png: nothing is left of the 2x2 places" in response.json()["error"]
            continue
        wanted = model.predict([png(90)], regions=chosen[place % 6])
        np.testing.assert_allclose(row(answered(response)[0], "logits"), wanted["logits"][0], atol=1e-6)


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ({"remove": "/etc/passwd"}, "option region is not such as"),
        ({"remove": {"path": "a"}}, "option region is not such as"),
        ({"remove": [0, 0, 3]}, "a.png: a box of this image is [x, y, width, height]"),
        ({"remove": [0, 0, 99, 1]}, "a.png: a box of"),
        ({"remove": [0, 0, float("nan"), 1]}, "NaN is no number of JSON"),
        ({"remove": [[1, 0, 1]]}, "a.png: the region's mask is of 1x3"),
        ({"remove": [[0.5, 1], [1, 1]]}, "true where it lies and false elsewhere"),
        ({"remove": [[1], [1, 0]]}, "a region is a box of numbers"),
        ({"remove": ["a"]}, "a region is a box of numbers"),
        ({"remove": [10**400, 0, 1, 1]}, "a region is a box of numbers"),
        ({"remove": [0, 0, 1, 1], "within": [0, 0, 1, 1]}, "a region says one of"),
        ({"only": ["light"]}, "a region says one of"),
        ({"remove": [0, 0, 1, 1], "only": ["flatt"]}, "unknown concept 'flatt'; did you mean 'flat'?"),
        ({"remove": [0, 0, 1, 1], "of": 1}, "option region is not such as"),
        ([1], "option region is not such as"),
    ],
)
def test_regions_that_cannot_be_are_refused(client: httpx.Client, region: Any, said: str) -> None:
    found = ask(client, region)
    assert found.status_code == 422
    assert said in found.json()["error"]
    assert "\n" not in found.json()["error"]


def test_a_file_without_concept_maps_says_so(client: httpx.Client) -> None:
    found = ask(client, {"remove": [0, 0, 1, 1]}, model="levels")
    assert (found.status_code, "this file takes no regions" in found.json()["error"]) == (422, True)
