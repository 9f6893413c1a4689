"""The page of models of several modalities and of bags, in a real browser: a field each, and what is left empty is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medzoo.export.runtime.model import OnnxModel
from tests.export.service.browser import Browser, chromium
from tests.export.service.models import CLASSES, bottleneck
from tests.export.service.served import running, service
from tests.export.service.several import bags, modalities, rows
from tests.export.service.test_page import ANSWERED, DESK, FOCUS, PHONE, SAID
from tests.export.service.test_predict import png

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
NOTES = "[...document.querySelectorAll('#sample-fields .note')].map((note) => note.textContent)"
MEMBERS = "[...document.querySelectorAll('#members li')].map((item) => item.innerText.split('\\n').map((line) => line.trim()))"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("page")
    made = {"several": modalities, "films": bags, "slides": rows, "levels": bottleneck}
    found = {name: make(folder / f"{name}.onnx") for name, make in made.items()}
    for level in (20, 200):
        (folder / f"{level}.png").write_bytes(png(level))
    np.save(folder / "rows.npy", np.eye(3, dtype=np.float32))
    return {**found, "folder": folder}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as found:
        yield found


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, files: dict[str, Path]) -> Iterator[Browser]:
    """The page, open; when a test is over it must have fetched nothing from elsewhere, said no error and not be too wide."""
    with running(service(files["several"], files["films"], files["slides"], files["levels"])) as address:
        browser.requests.clear()
        browser.errors.clear()
        browser.open(f"{address}/", *request.param)
        browser.wait("document.getElementById('limits')?.children.length > 0")
        yield browser
        assert [asked for asked in browser.requests if not asked.startswith((f"{address}/", "data:image/png"))] == []
        assert browser.errors == []
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def choose(page: Browser, name: str) -> None:
    page.evaluate(f"document.getElementById('model').value = '{name}'")
    page.evaluate("document.getElementById('model').dispatchEvent(new Event('change'))")
    page.wait(f"document.title.startsWith('{name}')")


def said_of(outputs: dict[str, np.ndarray]) -> str:
    best = int(outputs["probabilities"][0].argmax())
    return f"{CLASSES[best]}: {outputs['probabilities'][0, best]:.3f}"


def test_each_modality_has_its_field_and_what_is_empty_is_missing(page: Browser, files: dict[str, Path]) -> None:
    """By keyboard alone, but for the dialogue of files, which is the system's own."""
    model = OnnxModel(files["several"])
    labels = "[...document.querySelectorAll('#sample-fields label')].map((label) => label.textContent.split(':')[0])"
    assert page.evaluate(labels) == ["image", "second", "note", "age", "sex"]
    assert page.evaluate(NOTES) == ["missing"] * 5
    assert page.evaluate("document.getElementById('drop').hidden")
    page.press("Tab")
    page.press("Enter")
    page.wait("location.hash === '#part-0'")
    page.choose_file("#part-0", files["folder"] / "200.png")
    page.wait(f"{NOTES}[0] === '1 given'")
    for _ in range(9):
        page.press("Tab")
        if page.evaluate(FOCUS) == "part-2":
            break
    page.type("red green")
    page.press("Tab")
    page.type("0.5")
    page.press("Tab")
    page.press("ArrowDown")  # female, the first of its words
    assert page.evaluate("document.activeElement.value") == "female"
    assert page.evaluate(NOTES) == ["1 given", "missing", "given", "given", "given"]
    page.press("Tab")
    assert page.evaluate(FOCUS) == "sample-ask"
    page.press("Enter")
    page.wait(ANSWERED)
    sample = {"image": png(200), "note": "red green", "inputs": {"age": 0.5, "sex": "female"}}
    assert page.evaluate(SAID) == said_of(model.predict(sample))
    assert page.evaluate("document.getElementById('missing').textContent") == "Missing: second."
    assert page.evaluate(MEMBERS) == [["image: 200.png"]]
    assert page.evaluate("document.querySelector('#members img').naturalWidth") == 8
    # Taken back, it is missing again.
    page.evaluate("document.querySelector('#sample-fields button').focus()")
    page.press("Enter")
    assert page.evaluate(f"{NOTES}[0]") == "missing"
    assert page.evaluate(FOCUS) == "part-0"
    page.evaluate("document.getElementById('sample-ask').focus()")
    page.press("Enter")
    page.wait("document.getElementById('missing').textContent === 'Missing: image, second.'")
    assert page.evaluate(SAID) == said_of(model.predict({key: value for key, value in sample.items() if key != "image"}))


def test_what_the_service_refuses_is_said_and_nothing_is_asked_of_nothing(page: Browser, files: dict[str, Path]) -> None:
    ask = "document.getElementById('sample-ask').click()"
    page.evaluate(ask)
    page.wait("document.getElementById('status').textContent.startsWith('Give one thing')")
    page.evaluate("document.getElementById('part-3').value = 'old'")
    page.evaluate(ask)
    page.wait("!document.getElementById('error').hidden")
    assert "input 'age' is 'old', which is no number" in page.evaluate("document.getElementById('error').textContent")
    page.errors.clear()  # the browser writes each refusal of the service to its console


def test_the_images_of_a_case_have_their_attention_beside_them(page: Browser, files: dict[str, Path]) -> None:
    choose(page, "films")
    assert page.evaluate("document.getElementById('part-0').multiple")
    page.choose_files("#part-0", [files["folder"] / "20.png", files["folder"] / "200.png"])
    page.wait(f"{NOTES}[0] === '2 given'")
    page.evaluate("document.querySelectorAll('#sample-fields select')[1].value = 'lateral'")
    page.evaluate("document.querySelectorAll('#sample-fields select')[1].dispatchEvent(new Event('change'))")
    page.evaluate("document.getElementById('sample-ask').click()")
    page.wait(ANSWERED)
    wanted = OnnxModel(files["films"]).predict_cases([{"images": [png(20), png(200)], "views": [None, "lateral"]}])
    weights = [f"attention {weight:.3f}" for weight in wanted["attention"][0]]
    assert page.evaluate(MEMBERS) == [["20.png", weights[0]], ["200.png", weights[1]]]
    assert page.evaluate("document.querySelectorAll('#members progress')[1].value") == pytest.approx(wanted["attention"][0, 1])
    assert not page.evaluate("document.getElementById('weights-note').hidden")
    choose(page, "slides")
    page.choose_file("#part-0", files["folder"] / "rows.npy")
    page.wait(f"{NOTES}[0] === '1 given'")
    page.evaluate("document.getElementById('sample-ask').click()")
    page.wait(ANSWERED)
    assert page.evaluate(MEMBERS) == [[f"row {place}", "attention 0.333"] for place in range(3)]


def test_a_model_of_single_images_is_asked_as_before(page: Browser, files: dict[str, Path]) -> None:
    choose(page, "levels")
    assert page.evaluate("document.getElementById('sample-form').hidden")
    page.choose_file("#file", files["folder"] / "20.png")
    page.wait(ANSWERED)
    assert page.evaluate(SAID) == said_of(OnnxModel(files["levels"]).predict([png(20)]))
    assert page.evaluate("document.getElementById('members').hidden && !document.getElementById('shown').hidden")


def test_a_file_is_dropped_on_the_field_that_it_belongs_to(page: Browser) -> None:
    drop = """(selector) => {
      const given = new DataTransfer();
      given.items.add(new File(["x"], "dropped.png"));
      const how = { bubbles: true, cancelable: true, dataTransfer: given };
      document.querySelector(selector).dispatchEvent(new DragEvent("drop", how));
    }"""
    page.evaluate(f"({drop})('#part-1')")
    assert page.evaluate(NOTES) == ["missing", "1 given", "missing", "missing", "missing"]
    page.evaluate(f"({drop})('h1')")
    assert page.evaluate("document.getElementById('status').textContent") == "Drop it on the field that it belongs to."
