"""The page in a real browser: everything it offers, by keyboard alone, at the width of a desk and of a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medzoo.export.runtime.model import OnnxModel
from tests.export.service.browser import Browser, chromium
from tests.export.service.models import bottleneck, open_classes, text_tower
from tests.export.service.served import running, service
from tests.export.service.test_predict import png

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
DESK, PHONE = (1280, 900), (420, 800)
ANSWERED = "!document.getElementById('answer').hidden && document.getElementById('status').textContent.startsWith('Answered')"
FOCUS = "document.activeElement.id || document.activeElement.tagName"
SAID = "document.getElementById('said').textContent"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("page")
    made = {"levels": bottleneck, "colours": open_classes, "text": text_tower}
    found = {name: make(folder / f"{name}.onnx") for name, make in made.items()}
    (folder / "grey.png").write_bytes(png(70))
    (folder / "red.png").write_bytes(png(250, mode="RGB"))
    (folder / "no image.png").write_bytes(b"no image")
    return {**found, "folder": folder}


@pytest.fixture(scope="module")
def address(files: dict[str, Path]) -> Iterator[str]:
    with running(service(files["levels"], files["colours"], files["text"])) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as found:
        yield found


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Browser]:
    """The page, open; when a test is over it must have fetched nothing from elsewhere, said no error and not be too wide."""
    browser.requests.clear()
    browser.errors.clear()
    browser.open(f"{address}/", *request.param)
    browser.wait("document.getElementById('limits')?.children.length > 0")
    yield browser
    assert [asked for asked in browser.requests if not asked.startswith((f"{address}/", "data:image/png"))] == []
    assert len(browser.requests) > 4
    assert browser.evaluate("document.documentElement.scrollWidth") <= request.param[0]  # innerWidth grows with it on a phone
    notice = "document.getElementById('notice').getBoundingClientRect()"
    browser.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert browser.evaluate(f"{notice}.top === 0 && {notice}.height > 10")  # in sight at the very end, too
    assert "not a medical device" in browser.evaluate("document.getElementById('notice').innerText")


def no_errors(page: Browser) -> None:
    assert page.errors == []


def test_an_image_is_answered_with_calls_a_map_and_its_limits(page: Browser, files: dict[str, Path]) -> None:
    page.choose_file("#file", files["folder"] / "grey.png")
    page.wait(ANSWERED)
    wanted = OnnxModel(files["levels"]).predict([png(70)])
    best = int(wanted["probabilities"][0].argmax())
    assert page.evaluate(SAID) == f"{('dark', 'grey', 'bright')[best]}: {wanted['probabilities'][0, best]:.3f}"
    cells = "[...document.querySelectorAll('#table tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    rows = {row[0]: row[1:] for row in page.evaluate(cells)}
    for place, name in enumerate(("dark", "grey", "bright")):
        assert rows[name][0] == f"{wanted['probabilities'][0, place]:.3f}"
        assert rows[name][3] == ("yes" if wanted["prediction_set"][0, place] else "no")
    assert rows["bright"][2] == "no threshold"
    assert rows["dark"][2] == ("called" if wanted["calls"][0, 0, 0] else "no")
    inside = [name for place, name in enumerate(("dark", "grey", "bright")) if wanted["prediction_set"][0, place]]
    assert 0 < len(inside) < 3
    told = page.evaluate("document.getElementById('set').textContent")
    assert told == f"With 90% coverage the truth is one of: {', '.join(inside)}."
    grey = "document.getElementById('picture').getContext('2d').getImageData(9, 9, 1, 1).data"
    assert list(page.evaluate(f"[...{grey}]")) == [70, 70, 70, 255]
    page.evaluate(
        "document.getElementById('map').value = 'light'; document.getElementById('map').dispatchEvent(new Event('change'))"
    )
    page.wait(f"{grey}[0] !== {grey}[2]")  # coloured now
    assert "Of other scanners" in page.evaluate("document.getElementById('limits').textContent")
    assert "Levels" in page.evaluate("document.getElementById('card').textContent")
    no_errors(page)


def test_by_keyboard_alone_a_concept_is_moved_and_taken_back(page: Browser, files: dict[str, Path]) -> None:
    page.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the image"
    page.press("Enter")
    page.wait("location.hash === '#file'")
    order = []
    for _ in range(4):
        order.append(page.evaluate(FOCUS))
        if order[-1] == "file":
            break
        page.press("Tab")
    assert order[-1] == "file"
    page.choose_file("#file", files["folder"] / "grey.png")  # as its dialogue does, which is the system's own
    page.wait(ANSWERED)
    before = page.evaluate(SAID)
    for _ in range(9):
        page.press("Tab")
        if page.evaluate(FOCUS) == "concept-1":
            break
    assert page.evaluate("document.activeElement.labels[0].textContent") == "flat"
    page.press("End")
    wanted = OnnxModel(files["levels"]).predict([png(70)], concept_values={"flat": 1.0})["probabilities"][0]
    shown = f"{('dark', 'grey', 'bright')[int(wanted.argmax())]}: {wanted.max():.3f}"
    page.wait(f"{SAID} === '{shown}'")
    assert shown != before
    assert page.evaluate("document.activeElement.closest('.slider').classList.contains('moved')")
    page.press("Tab")
    assert page.evaluate(FOCUS) == "undo"
    page.press("Enter")
    page.wait(f"{SAID} === '{before}'")
    no_errors(page)


def test_classes_are_typed_by_hand(page: Browser, files: dict[str, Path]) -> None:
    page.evaluate(
        "document.getElementById('model').value = 'colours'; document.getElementById('model').dispatchEvent(new Event('change'))"
    )
    page.wait("!document.getElementById('classes-form').hidden")
    page.choose_file("#file", files["folder"] / "red.png")
    page.wait("document.getElementById('status').textContent.includes('two or more')")
    assert page.evaluate(FOCUS) == "classes"
    page.type("blue\nred\n")
    page.press("Tab")
    page.press("Enter")
    page.wait(ANSWERED)
    assert page.evaluate(SAID).startswith("red: ")
    no_errors(page)


def test_what_is_no_image_is_said_and_the_next_is_answered(page: Browser, files: dict[str, Path]) -> None:
    page.choose_file("#file", files["folder"] / "no image.png")
    page.wait("!document.getElementById('error').hidden")
    assert page.evaluate("document.getElementById('error').textContent").startswith("no image.png: not a PNG")
    page.choose_file("#file", files["folder"] / "grey.png")
    page.wait(ANSWERED)
    assert page.evaluate("document.getElementById('error').hidden")


def test_a_key_is_asked_for_and_kept_by_the_page_alone(browser: Browser, files: dict[str, Path]) -> None:
    with running(service(files["levels"], key="correct-horse-battery")) as address:
        browser.open(f"{address}/", *PHONE)
        browser.wait("document.getElementById('key-section')?.hidden === false")
        assert browser.evaluate(FOCUS) == "key"
        browser.type("correct-horse-battery")
        browser.press("Enter")
        browser.wait("document.getElementById('limits').children.length > 0")
        assert browser.evaluate("document.getElementById('key-section').hidden")
        assert browser.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        browser.choose_file("#file", files["folder"] / "grey.png")
        browser.wait(ANSWERED)
        assert np.isfinite(float(browser.evaluate(SAID).split(": ")[1]))
