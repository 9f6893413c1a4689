"""Structured reports, read back by pydicom and highdicom: what they refer to, what they say, by which codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from medzoo.cli import main
from medzoo.data.images.frames import Frame
from medzoo.export.runtime.dicom_report import DicomReports
from medzoo.export.runtime.model import OnnxModel
from tests.data.images.makers import dicom, film
from tests.export.service.models import CLASSES, CONCEPTS, bottleneck

ASKED = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.5", "PatientID": "P7", "PatientName": "Doe^J"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return bottleneck(tmp_path / "model.onnx")


def groups(path: Path) -> list[Any]:
    """Return the groups of measurements, by highdicom's own reader."""
    report = highdicom.sr.srread(path)
    found: list[Any] = report.content.get_image_measurement_groups()
    return found


def test_a_report_says_what_the_model_says_of_the_image_it_refers_to(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scan.dcm").write_bytes(dicom(**ASKED))
    codes = {"dark": {"value": "T-1", "scheme": "99TEST", "meaning": "Dark"}}
    (tmp_path / "codes.json").write_text(json.dumps(codes))
    command = ["predict", str(file), str(tmp_path / "scan.dcm"), "--dicom-sr", str(tmp_path / "out")]
    assert main([*command, "--dicom-codes", str(tmp_path / "codes.json")]) == 0
    assert "coded in medzoo's own scheme 99MEDZOO: grey, bright, light, flat" in capsys.readouterr().err
    path = tmp_path / "out" / "scan.sr.dcm"
    report = pydicom.dcmread(path)
    assert (report.PatientID, report.StudyInstanceUID, report.Modality) == ("P7", "1.2.3", "SR")
    assert report.SeriesInstanceUID != "1.2.3.5"
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    wanted = OnnxModel(file).predict([tmp_path / "scan.dcm"])
    found = groups(path)
    kinds = [(group.finding_type.scheme_designator, group.finding_type.meaning) for group in found]
    assert kinds == [("99TEST", "Dark"), *(("99MEDZOO", name) for name in (*CLASSES[1:], *CONCEPTS))]
    values = np.concatenate([wanted["probabilities"][0], wanted["concepts"][0]])
    for group, value in zip(found, values, strict=True):
        (measurement,) = group.get_measurements()
        assert measurement.value == pytest.approx(float(value), abs=1e-9)
        assert measurement.unit.value == "1"
        (source,) = group.source_images
        assert source.referenced_sop_instance_uid == "1.2.3.4"
    judged = {
        (group.finding_type.meaning, one.name.meaning): one.value.meaning
        for group in found
        for one in group.get_qualitative_evaluations()
    }
    best = CLASSES[int(wanted["probabilities"][0].argmax())]
    said = "Dark" if best == "dark" else best
    assert judged[said, "Most probable class"] == "Yes"
    assert [kind for kind, answer in judged.items() if kind[1] == "Most probable class" and answer == "Yes"] == [
        (said, "Most probable class")
    ]
    assert judged["Dark", "Called at youden"] == ("Yes" if wanted["calls"][0, 0, 0] else "No")
    assert ("bright", "Called at youden") not in judged  # it has no threshold
    assert "not a medical device" in report.SeriesDescription


def test_a_frame_is_referred_to_by_its_number(file: Path, tmp_path: Path) -> None:
    frames = np.stack([np.full((8, 8), level, np.uint16) for level in (10, 4000)])
    (tmp_path / "film.dcm").write_bytes(film(frames, **ASKED))
    assert main(["predict", str(file), str(tmp_path / "film.dcm"), "--frames", "members", "--dicom-sr", str(tmp_path)]) == 0
    for number in (0, 1):
        (source,) = groups(tmp_path / f"film.{number}.sr.dcm")[0].source_images
        assert source.referenced_frame_numbers == [number + 1]


def test_uids_follow_from_the_image_the_model_and_the_codes(file: Path, tmp_path: Path) -> None:
    def uids(model: Path, frame: int | None = 0, codes: Any = None, **image: Any) -> tuple[str, ...]:
        opened, source = OnnxModel(model, threads=1), dicom(**{**ASKED, **image})
        outputs = {name: value[0] for name, value in opened.predict([source]).items()}
        given = source if frame is None else Frame(source, frame)
        made = DicomReports(model, opened, tmp_path, codes or {}).report(given, outputs)
        made.save_as(tmp_path / "report.dcm", enforce_file_format=True)
        tracked = [str(group.tracking_uid) for group in groups(tmp_path / "report.dcm")]
        assert len({*tracked, made.SOPInstanceUID, made.SeriesInstanceUID}) == len(tracked) + 2
        return str(made.SOPInstanceUID), str(made.SeriesInstanceUID), *tracked

    first = uids(file)
    assert uids(file) == first
    others = [
        uids(file, None), uids(file, codes={"dark": ("T-1", "99TEST", "Dark")}), uids(file, SOPInstanceUID="1.2.3.9"),
        uids(bottleneck(tmp_path / "other.onnx", {"precision": "fp16"})),
    ]  # fmt: skip
    assert all({*first}.isdisjoint(other) for other in others)


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        ({"a.png": b""}, [], "a report is written of DICOM images alone, and this is none\n"),
        ({"a.dcm": dicom()}, [], "a.dcm: has no StudyInstanceUID, to which a report would refer"),
        ({"a/x.dcm": dicom(**ASKED), "b/x.dcm": dicom(**ASKED)}, [], "two images would have the report"),
        ({"a.dcm": dicom(**ASKED), "c.json": b'{"tumour": {"value": "1", "scheme": "SCT", "meaning": "m"}}'},
         ["--dicom-codes", "c.json"], "the codes name 'tumour', which is no label or concept"),
        ({"a.dcm": dicom(**ASKED), "c.json": b'{"dark": 5}'}, ["--dicom-codes", "c.json"], "c.json is no file of codes"),
        ({"a.dcm": dicom(**ASKED), "c.json": b'{"dark": {"value": 5, "scheme": "SCT", "meaning": "m"}}'},
         ["--dicom-codes", "c.json"], "the code of 'dark' is not three texts"),
    ],
)  # fmt: skip
def test_what_cannot_be_reported_is_one_line(
    made: dict[str, bytes], options: list[str], said: str, file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name, data in made.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(data)
        if not data:
            Image.new("L", (4, 4)).save(name)
    images = [name for name in made if not name.endswith(".json")]
    assert main(["predict", str(file), *images, "--dicom-sr", "out", *options]) == 2
    assert said in capsys.readouterr().err
