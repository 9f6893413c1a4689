"""Bytes that mean harm, and those that only look odd: no crash, no 500, no stall; one clear line, and the next is served."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from medzoo.export.service.limits import Limits
from tests.data.images.makers import dicom
from tests.export.service.models import bottleneck
from tests.export.service.served import running, service
from tests.export.service.several import bags, modalities
from tests.export.service.test_predict import png

LIMITS = Limits(body=1 << 20, images=4, pixels=500_000, seconds=20)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(service(bottleneck(tmp_path_factory.mktemp("hostile") / "levels.onnx"), limits=LIMITS)) as found:
        yield found


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)  # type: ignore[arg-type]
    return data.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *more: bytes) -> bytes:
    """Return a PNG that says it has so many pixels, of which a thousand zero bytes stand for all."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def noise(*shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def turned() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return saved(noise(10, 20), "JPEG", exif=exif)


TAKEN: dict[str, Callable[[], bytes]] = {
    "one pixel": lambda: png(5, side=1),
    "16 bits": lambda: saved(Image.fromarray(np.arange(0, 65535, 1024, dtype=np.uint16).reshape(8, 8)), "PNG"),
    "CMYK": lambda: saved(noise(8, 8, 3).convert("CMYK"), "JPEG"),
    "palette": lambda: saved(noise(8, 8, 3).convert("P"), "PNG"),
    "alpha": lambda: saved(noise(8, 8, 4), "PNG"),
    "turned by EXIF": turned,
    "animated PNG": lambda: saved(noise(8, 8), "PNG", save_all=True, append_images=[noise(8, 8).rotate(90)]),
    "DICOM": dicom,
    "a strip": lambda: saved(noise(1, 4000), "PNG"),
}
REFUSED: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "nothing": (lambda: b"", 422, "empty"),
    "cut short": (lambda: saved(noise(64, 64), "PNG")[:900], 422, "truncated"),
    "a cut JPEG": (lambda: saved(noise(64, 64), "JPEG")[:300], 422, "Truncated"),
    "a bomb": (lambda: png_of(9000, 9000), 413, "81,000,000 pixels are more than the 500,000 that"),
    "a larger bomb": (lambda: png_of(60000, 60000), 422, "too large"),
    "above the limit by little": (lambda: png_of(1000, 501), 413, "501,000 pixels"),
    "sides that cannot be": (lambda: png_of(2**31 - 1, 2**31 - 1), 422, "large"),
    "no width": (lambda: png_of(0, 5), 422, ""),
    "a huge header": (lambda: png_of(8, 9, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26)))), 422, ""),
    "text": (lambda: b"hello, I am no image at all", 422, "not a PNG"),
    "a program": (lambda: b"\x7fELF" + bytes(500), 422, "not a PNG"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "SVG"),
    "a PDF": (lambda: b"%PDF-1.7\n" + bytes(99), 422, "PDF"),
    "an animation": (lambda: saved(noise(8, 8), "GIF", save_all=True, append_images=[noise(8, 8).rotate(90)]), 422, "send one"),
    "DICOM without anything": (lambda: bytes(128) + b"DICM" + bytes(64), 422, "DICOM"),
    "a TIFF that points outside": (lambda: b"II*\0\xff\xff\xff\x7f" + bytes(64), 422, ""),
    "a volume": (lambda: bytes(344) + b"n+1\0" + bytes(700), 422, "NIfTI"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAKEN)
def test_odd_images_are_answered(address: str, kind: str) -> None:
    found = httpx.post(f"{address}/predict", files={"image": TAKEN[kind]()}, timeout=60)
    assert found.status_code == 200, found.text
    assert sum(found.json()["results"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_image_is_refused_by_its_name_in_one_line(address: str, kind: str) -> None:
    make, status, said = REFUSED[kind]
    found = httpx.post(f"{address}/predict", files={"image": ("scan 7.png", make())}, timeout=60)
    assert found.status_code == status, found.text
    assert found.json()["error"].startswith("scan 7.png: ")
    assert said in found.json()["error"]
    assert "\n" not in found.json()["error"]
    assert httpx.post(f"{address}/predict", files={"image": png(9)}, timeout=60).status_code == 200


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("several")
    with running(service(modalities(folder / "several.onnx"), bags(folder / "films.onnx"), limits=LIMITS)) as found:
        yield found


@pytest.mark.parametrize("kind", TAKEN)
def test_odd_images_are_answered_as_modalities_and_members(several: str, kind: str) -> None:
    for model, part in (("several", "second"), ("films", "image")):
        found = httpx.post(f"{several}/predict", files={part: TAKEN[kind]()}, data={"model": model}, timeout=60)
        assert found.status_code == 200, found.text
        assert np.isfinite(list(found.json()["results"][0]["logits"].values())).all()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_image_is_refused_among_others_of_its_sample(several: str, kind: str) -> None:
    make, status, said = REFUSED[kind]
    for model, part, named in (("several", "second", "second: scan 7.png: "), ("films", "image", "scan 7.png: ")):
        parts = [("image", ("good.png", png(9))), (part, ("scan 7.png", make()))]
        found = httpx.post(f"{several}/predict", files=parts, data={"model": model}, timeout=60)
        assert found.status_code == status, found.text
        assert found.json()["error"].startswith(named)
        assert said in found.json()["error"]
        assert "\n" not in found.json()["error"]
        assert httpx.post(f"{several}/predict", files={"image": png(9)}, data={"model": model}, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"), ("..\\..\\boot.ini", "boot.ini"), ("..", "image 0"), ("a\u202eb.png", "ab.png"),
        ("x" * 5000, "x" * 100), ("naïve Bild.png", "naïve Bild.png"), ("\x1b[31mred\x07", "[31mred"),
    ],
)  # fmt: skip
def test_a_files_name_is_a_name_and_no_path(address: str, given: str, shown: str) -> None:
    images = [{"name": given, "data": "AAAA"}]
    said = httpx.post(f"{address}/predict", json={"images": images}).json()["error"]
    assert said.startswith(f"{shown}: ")


def test_too_much_is_refused_before_it_is_read(address: str) -> None:
    large = httpx.post(f"{address}/predict", files={"image": bytes(2 << 20)}, timeout=60)
    assert (large.status_code, "1,048,576 bytes" in large.json()["error"]) == (413, True)

    def unsaid() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(1 << 16)

    found = httpx.post(f"{address}/predict", content=unsaid(), headers={"content-type": "image/png"}, timeout=60)
    assert found.status_code == 413
    many = httpx.post(f"{address}/predict", files=[("image", png(place)) for place in range(5)])
    assert (many.status_code, "iles" in many.json()["error"]) == (413, True)
    listed = httpx.post(f"{address}/predict", json={"images": [{"data": ""}] * 5})
    assert (listed.status_code, "5 images are more than the 4" in listed.json()["error"]) == (413, True)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"concepts": "{}", "secret": "1"}, 422, "unknown option 'secret'"),
        ({"concepts": '{"flat": 2}'}, 422, "option concepts is not such as"),
        ({"concepts": '{"flatt": 1}'}, 422, "did you mean 'flat'"),
        ({"concepts": "{"}, 422, "option concepts is no JSON"),
        ({"concepts": "[" * 30_000}, 422, "option concepts is no JSON"),
        ({"concepts": '{"flat": 0, "flat": 1}'}, 422, "'flat' is given twice"),
        ({"concepts": '{"flat": NaN}'}, 422, "NaN is no number of JSON"),
        ({"classes": '["a", "b"]'}, 422, "levels takes no classes"),
        ({"classes": '["a", "a"]'}, 422, "option classes is not such as"),
        ({"templates": '["a"]'}, 422, "option templates is not such as"),
        ({"templates": '["a {}"]'}, 422, "option templates is for classes; give both, or leave it out"),
        (
            {"classes": json.dumps([f"c{n}" for n in range(99)]), "templates": json.dumps([f"{n} {{}}" for n in range(9)])},
            422,
            "891 texts of classes and templates are more than 512",
        ),
        ({"map": "yes"}, 422, "option map is no JSON"),
        ({"map": "1"}, 422, "option map is not such as true"),
        ({"concepts": "x" * 70_000}, 400, "the form cannot be read"),
    ],
)
def test_options_that_cannot_be_are_refused(address: str, options: dict[str, str], status: int, said: str) -> None:
    found = httpx.post(f"{address}/predict", files={"image": png(1)}, data=options)
    assert found.status_code == status
    assert said in found.json()["error"]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", b"x", 400), ("multipart/form-data; boundary=a", b"--a\r\nno", 400),
        ("multipart/form-data; boundary=a", b"--a\r\n\r\nx\r\n--a--", 400), ("application/json", b"\xff\xfe", 400),
        ("text/plain", b"x", 415), ("", b"x", 415), ("application/json", b'{"images": 5}', 422),
        ("application/json", b'{"images": [{"data": "AA==", "more": 1}]}', 422),
        ("application/json", b'{"images": [], "images": [{"data": "AA=="}]}', 400),
        ("application/json", b'{"images": [{"data": "AA=="}], "concepts": {"flat": NaN}}', 400),
    ],
)  # fmt: skip
def test_bodies_of_no_form_are_refused(address: str, kind: str, body: bytes, status: int) -> None:
    found = httpx.post(f"{address}/predict", content=body, headers={"content-type": kind} if kind else {})
    assert found.status_code == status, found.text
    assert found.json()["error"]


def test_what_a_sender_may_have_done_is_named(address: str) -> None:
    for packing, body, status in (("gzip", gzip.compress(png(1)), 415), ("identity", png(1), 200)):
        headers = {"content-type": "image/png", "content-encoding": packing}
        found = httpx.post(f"{address}/predict", content=body, headers=headers)
        assert (found.status_code, "packed by 'gzip'" in found.text) == (status, status == 415)
    pasted = f"data:image/png;base64,{base64.b64encode(png(1)).decode()}"
    found = httpx.post(f"{address}/predict", json={"images": [{"data": pasted}]})
    assert found.status_code == 422
    assert "leave out 'data:image/png;base64' and the comma" in found.json()["error"]


def test_a_form_that_is_cut_short_is_not_answered_in_part(address: str) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    whole = b"\r\n".join([head + png(1), head + png(2), b"--x--"])
    headers = {"content-type": "multipart/form-data; boundary=x"}
    found = httpx.post(f"{address}/predict", content=whole, headers=headers)
    assert (found.status_code, len(found.json()["results"])) == (200, 2)
    for short in (whole[:-2], whole[:-20]):
        found = httpx.post(f"{address}/predict", content=short, headers=headers)
        assert (found.status_code, "the form is cut short" in found.json()["error"]) == (400, True), short[-20:]


def test_headers_without_end_are_refused(address: str) -> None:
    with contextlib.suppress(httpx.TransportError):  # it hangs up while they still come
        assert 400 <= httpx.get(f"{address}/models", headers={"x-long": "a" * 300_000}).status_code < 500
    assert httpx.get(f"{address}/models").status_code == 200


def test_a_page_of_others_cannot_be_named_as_this_machine(tmp_path: Path) -> None:
    with running(service(bottleneck(tmp_path / "a.onnx"), hosts=("localhost", "127.0.0.1"))) as here:
        assert httpx.get(f"{here}/models").status_code == 200
        assert httpx.get(f"{here}/models", headers={"host": "evil.example"}).status_code == 421
        assert httpx.get(f"{here}/models", headers={"host": "LOCALHOST:99"}).status_code == 200
