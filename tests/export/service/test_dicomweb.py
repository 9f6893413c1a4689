"""An archive by DICOMweb: what is fetched, answered and stored, and what an archive that does otherwise makes of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import httpx
import numpy as np
import pydicom
import pytest

from medzoo.data.errors import ConfigError
from medzoo.export.commands import serve
from medzoo.export.runtime.dicom_report import DicomReports
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.service.app import Service
from medzoo.export.service.archive import CALLS, REQUESTS, Archive, part_of, require_stored
from medzoo.export.service.limits import Limits, RefusedError
from tests.data.images.makers import bomb, dicom
from tests.export.service.models import bottleneck
from tests.export.service.served import running
from tests.export.service.several import bags
from tests.export.service.test_predict import answered, row

UIDS = {"study": "1.2.3", "series": "1.2.3.5", "instance": "1.2.3.4"}
IMAGE = dicom(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.5", PatientID="P7", PatientName="Doe^J")
KEY = "archive-key-0123456"


class Held:
    """What the archive answers with, and what it was asked."""

    def __init__(self) -> None:
        self.slow: tuple[str, ...] = ()  # methods whose answers wait
        self.free = threading.Event()
        self.said: int | None = None  # bytes that an answer is said to have
        self.stored: tuple[int, bytes] | None = None  # status and body of the answer to a report
        self.status, self.kind, self.body = 200, 'multipart/related; type="application/dicom"; boundary="b1"', b""
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.give(IMAGE)

    def give(self, *files: bytes) -> None:
        parts = (b"--b1\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
        self.body = b"".join(parts) + b"--b1--\r\n"


@contextmanager
def archive_of(held: Held) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            held.asked.append((self.command, self.path, dict(self.headers.items()), body))
            if self.command in held.slow:
                held.free.wait(30)
            status, content = (held.status, held.body) if self.command == "GET" or held.stored is None else held.stored
            if not status:  # goes without a word
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-type", held.kind)
            self.send_header("location", "/elsewhere")
            if held.said is not None:
                self.send_header("content-length", str(held.said))
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked has gone
                self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  # the library's own name

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dicomweb")
    return {"levels": bottleneck(folder / "levels.onnx"), "films": bags(folder / "films.onnx")}


@pytest.fixture(scope="module")
def standing(files: dict[str, Path]) -> Iterator[tuple[Held, str]]:
    held, limits = Held(), Limits(body=100_000, seconds=20)
    models = {name: (path, OnnxModel(path, threads=1)) for name, path in files.items()}
    with archive_of(held) as address:
        reports = {"levels": DicomReports(*models["levels"], Path(), {})}
        served = Service(models, limits, archive=Archive(address, limits, KEY), reports=reports)
        with running(served) as own:
            yield held, own


@pytest.fixture
def held(standing: tuple[Held, str]) -> Held:
    standing[0].__init__()  # type: ignore[misc]
    return standing[0]


@pytest.fixture
def client(standing: tuple[Held, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=standing[1], timeout=60) as found:
        yield found


def ask(client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post("/dicomweb", json={**UIDS, "model": "levels", **more})


@pytest.mark.parametrize("kind", ["multipart", "plain"])
def test_an_image_is_fetched_and_answered_as_if_it_had_been_sent(
    kind: str, held: Held, client: httpx.Client, files: dict[str, Path]
) -> None:
    if kind == "plain":
        held.kind, held.body = "application/dicom", IMAGE
    found = ask(client)
    (answer,) = answered(found)
    assert answer["image"] == "1.2.3.4"
    assert np.array_equal(row(answer, "logits"), OnnxModel(files["levels"], threads=1).predict([IMAGE])["logits"][0])
    assert found.json()["stored"] is None
    ((method, path, headers, _),) = held.asked
    assert (method, path) == ("GET", "/dicom-web/studies/1.2.3/series/1.2.3.5/instances/1.2.3.4")
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Accept"].startswith('multipart/related; type="application/dicom"')


def test_a_report_is_stored_in_the_study_of_the_image(held: Held, client: httpx.Client) -> None:
    found = ask(client, store=True)
    (answer,) = answered(found)
    method, path, headers, body = held.asked[1]
    assert (method, path) == ("POST", "/dicom-web/studies/1.2.3")
    report = highdicom.sr.srread(BytesIO(part_of(headers["Content-Type"], body)))
    assert (report.StudyInstanceUID, report.PatientID) == ("1.2.3", "P7")
    assert report.SOPInstanceUID == found.json()["stored"]
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    first = report.content.get_image_measurement_groups()[0].get_measurements()[0]
    assert first.value == pytest.approx(answer["probabilities"]["dark"], abs=1e-9)


def test_a_report_asked_for_once_more_is_the_same_and_not_a_second_one(held: Held, client: httpx.Client) -> None:
    first, again = (ask(client, store=True).json()["stored"] for _ in range(2))
    assert first == again
    assert first.startswith("2.25.")
    assert len(first) <= 64


@pytest.fixture
def hurried(files: dict[str, Path]) -> Iterator[tuple[Held, str]]:
    """An archive, and a service that waits little for it."""
    held, limits = Held(), Limits(seconds=2)
    model = OnnxModel(files["levels"], threads=1)
    with archive_of(held) as address:
        served = Service(
            {"levels": (files["levels"], model)}, limits, archive=Archive(address, limits),
            reports={"levels": DicomReports(files["levels"], model, Path(), {})},
        )  # fmt: skip
        with running(served) as own:
            yield held, own
            held.free.set()


def test_who_does_not_know_whether_a_report_was_stored_is_told_its_uid(hurried: tuple[Held, str]) -> None:
    held, own = hurried
    stored = httpx.post(f"{own}/dicomweb", json={**UIDS, "store": True}, timeout=60).json()["stored"]
    held.slow = ("POST",)
    found = httpx.post(f"{own}/dicomweb", json={**UIDS, "store": True}, timeout=60)
    assert found.status_code == 504, found.text
    assert f"it may have stored report {stored}" in found.json()["error"]


def test_a_slow_archive_keeps_nobody_from_the_models(hurried: tuple[Held, str]) -> None:
    held, own = hurried
    held.slow = ("GET",)
    with ThreadPoolExecutor(60) as many:
        waiting = [many.submit(httpx.post, f"{own}/dicomweb", json=UIDS, timeout=60) for _ in range(50)]
        while len(held.asked) < CALLS:
            time.sleep(0.01)
        found = httpx.post(f"{own}/predict", content=IMAGE, headers={"content-type": "application/dicom"}, timeout=60)
        assert found.status_code == 200, found.text
        assert sum(not one.done() for one in waiting) >= CALLS  # they wait on, and it was answered
        told = [one.result() for one in waiting]
    statuses = [one.status_code for one in told]
    assert set(statuses) <= {503, 504}
    refused = [one.json()["error"] for one in told if one.status_code == 503]
    assert sum(f"{REQUESTS} of {REQUESTS} requests to the archive" in error for error in refused) >= 50 - REQUESTS
    assert all(error.startswith("busy: ") for error in refused)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [273]}}]}}', ""),
        ('{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [42752]}}]}}', "failure reason 0xA700"),
        ('[{"00081198": {"vr": "SQ", "Value": [{}]}}]', "without a reason"),
        ('{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": ["x"]}}]}}', "without a reason"),
        ('{"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ", "Value": [{}]}}', ""),
        ("", ""),
        ("<xml/>", ""),
    ],
)
def test_a_report_that_the_archive_says_it_did_not_store_is_not_said_to_be_stored(answer: str, said: str) -> None:
    if said:
        with pytest.raises(RefusedError, match=f"the archive did not store the report.*{said}") as refused:
            require_stored(answer.encode())
        assert refused.value.status == 502
    else:
        require_stored(answer.encode())


def failure(reason: int) -> bytes:
    return f'{{"00081198": {{"vr": "SQ", "Value": [{{"00081197": {{"vr": "US", "Value": [{reason}]}}}}]}}}}'.encode()


@pytest.mark.parametrize(
    ("told", "status", "said"),
    [
        ((409, failure(0x0111)), 200, "2.25."),  # stored by an earlier request
        ((409, failure(0xA700)), 502, "failure reason 0xA700"),
        ((409, b"{}"), 502, "the archive answers 409"),
        ((0, b""), 504, "it may have stored report 2.25."),
    ],
)
def test_a_report_that_was_there_is_stored_and_one_that_nobody_knows_of_is_said(
    told: tuple[int, bytes], status: int, said: str, held: Held, client: httpx.Client
) -> None:
    held.stored = told
    found = ask(client, store=True)
    assert found.status_code == status, found.text
    assert said in found.json()["stored" if status == 200 else "error"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"status": 404}, 404, "the archive has no such instance"),
        ({"status": 500}, 502, "the archive answers 500"),
        ({"status": 302}, 502, "the archive answers 302"),
        ({"kind": "text/html", "body": b"<html>"}, 502, "the archive answers with text/html"),
        ({"kind": "multipart/related", "body": b""}, 502, "the archive answers with multipart/related"),
        ({"body": b"--b1--"}, 502, "0 parts, and one file"),
        ({"give": (IMAGE, IMAGE)}, 502, "2 parts, and one file"),
        ({"give": (b"hello",)}, 502, "no DICOM file"),
        ({"give": (dicom(StudyInstanceUID="9.9", SeriesInstanceUID="1.2.3.5"),)}, 502, "another instance than was asked for"),
        ({"said": 90_000, "kind": "application/dicom", "body": IMAGE[:-6]}, 502, "the archive cannot be reached (IncompleteRead"),
        ({"give": (bomb(),)}, 502, "unpacks to more than"),
        ({"give": (bytes(200_000),)}, 413, "more than the 100,000 bytes"),
    ],
)
def test_an_archive_that_does_otherwise_is_one_line(
    change: dict[str, Any], status: int, said: str, held: Held, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medzoo.data.images.dicom.header.MAX_INFLATED", 1 << 20)
    for name, value in change.items():
        held.give(*value) if name == "give" else setattr(held, name, value)
    found = ask(client)
    assert found.status_code == status, found.text
    assert said in found.json()["error"]
    assert "\n" not in found.json()["error"]
    assert len(held.asked) == 1  # no address that it gives is followed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"study": "../../x"}, "study is no UID"),
        ({"series": "1.2\n"}, "series is no UID"),
        ({"instance": "1" * 65}, "instance is no UID"),
        ({"study": 5}, "study is no UID"),
        ({"url": "http://elsewhere/"}, "unknown option 'url'"),
        ({"store": 1}, "store is neither true nor false"),
        ({"model": "films"}, "films takes more than one image"),
        ({"model": "none"}, "no model 'none' is served"),
    ],
)
def test_requests_that_cannot_be_reach_no_archive(asked: dict[str, Any], said: str, held: Held, client: httpx.Client) -> None:
    found = ask(client, **asked)
    assert 400 <= found.status_code < 500
    assert said in found.json()["error"]
    assert held.asked == []


def test_nothing_is_stored_where_the_service_was_not_told_to(files: dict[str, Path]) -> None:
    held, limits = Held(), Limits()
    with archive_of(held) as address:
        models = {"levels": (files["levels"], OnnxModel(files["levels"], threads=1))}
        with running(Service(models, limits, archive=Archive(address, limits))) as own:
            found = httpx.post(f"{own}/dicomweb", json={**UIDS, "store": True})
            assert (found.status_code, "--dicomweb-store" in found.json()["error"]) == (422, True)
            assert httpx.get(f"{own}/openapi.json").json()["paths"]["/dicomweb"]
        with running(Service(models, limits)) as own:
            assert httpx.post(f"{own}/dicomweb", json=UIDS).status_code == 404
            assert "/dicomweb" not in httpx.get(f"{own}/openapi.json").json()["paths"]
    assert held.asked == []


def test_an_archive_that_is_away_is_said(files: dict[str, Path]) -> None:
    with archive_of(Held()) as address:
        gone = address
    models, limits = {"levels": (files["levels"], OnnxModel(files["levels"], threads=1))}, Limits()
    with running(Service(models, limits, archive=Archive(gone, limits))) as own:
        found = httpx.post(f"{own}/dicomweb", json=UIDS, timeout=60)
    assert (found.status_code, "cannot be reached" in found.json()["error"]) == (502, True)


@pytest.mark.parametrize("address", ["ftp://a/b", "a/b", "http://", "https://a/b?c=1", "file:///etc/passwd", "http://me:pw@a/b"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address such as"):
        Archive(address, Limits())


@pytest.mark.parametrize("option", [["--dicomweb-store"], ["--dicomweb-key-file", "k"], ["--dicom-codes", "c.json"]])
def test_options_of_an_archive_want_one(option: list[str], files: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="is for --dicomweb ADDRESS"):
        serve.main([str(files["levels"]), *option])


def test_a_part_is_found_whatever_its_headers() -> None:
    body = b"preamble\r\n--x\r\nA: b\r\nContent-Type: application/dicom\r\n\r\nda\r\n\r\nta\r\n--x--\r\nepilogue"
    assert part_of("multipart/related; boundary=x", body) == b"da\r\n\r\nta"
    for kind in ('Multipart/Related; Boundary="x"', 'MULTIPART/RELATED;type="application/dicom";BOUNDARY=x'):
        assert part_of(kind, body) == b"da\r\n\r\nta"
    for kind in (
        "multipart/related; boundary=y",
        "multipart/related",
        'multipart/related; boundary=""',
        "text/plain; boundary=x",
    ):
        with pytest.raises(RefusedError):
            part_of(kind, body)
    assert pydicom.dcmread(BytesIO(IMAGE)).PatientID == "P7"
