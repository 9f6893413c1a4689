"""What a model says of a DICOM image, as a structured report of it: TID 1500, written by highdicom (extra `sr`).

A label is coded as a file of codes says. Of one that it does not name no code is guessed: it gets a code of medzoo's own scheme
(`99MEDZOO`, as the standard lets private schemes begin), whose value is the label's text.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medzoo.data.errors import ConfigError, ImageError
from medzoo.data.extras import needed_for
from medzoo.data.images.frames import Frame
from medzoo.data.strict_json import strict_json
from medzoo.export.files.integrity import read_metadata
from medzoo.export.runtime.model import OnnxModel
from medzoo.export.runtime.said import said_of

SCHEME, LONGEST_MEANING = "99MEDZOO", 64
NOTICE = "Research software: not a medical device. Not verified by a person."
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip
_SPACE = uuid.UUID("6e1f0c1e-7d0a-5b0e-9d6b-0c8a4c1f2b77")
"""That UIDs of reports are named in."""
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def read_codes(path: Path) -> dict[str, tuple[str, str, str]]:
    """Return label or concept → (value, scheme, meaning) of JSON such as `{"cyst": {"value": "", "scheme": "", "meaning": ""}}`.

    Raises:
        ConfigError: If it cannot be read, or an entry is not of that form.
    """
    try:
        listed = strict_json(path.read_text(encoding="utf-8"))
        found = {name: tuple(entry[part] for part in ("value", "scheme", "meaning")) for name, entry in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no file of codes, label → value, scheme, meaning ({error})") from None
    for name, code in found.items():
        if not all(isinstance(part, str) and part for part in code) or len(code[2]) > LONGEST_MEANING:
            raise ConfigError(f"{path}: the code of {name!r} is not three texts, a meaning of at most {LONGEST_MEANING} letters")
    return found  # type: ignore[return-value]


class DicomReports:
    """Writes one report an image into a folder.

    The UIDs of a report follow from its image, the model's file and the codes (UUID, version 5, under 2.25: DICOM PS3.5, section
    B.2): a report that is made once more, because nobody knew whether an archive had stored it, is no second one.

    Args:
        path: The model's file.
        model: The same, opened.
        folder: Where `write` puts reports; made if it is not there.
        codes: As `read_codes` returns them.

    Raises:
        ConfigError: If the model has no labels, or a code is of no label or concept of its.
        MissingDependencyError: If highdicom is not installed.
    """

    def __init__(self, path: Path, model: OnnxModel, folder: Path, codes: Mapping[str, tuple[str, str, str]]) -> None:
        with needed_for("DICOM structured reports"):
            import highdicom

        if model.labels is None:
            raise ConfigError(f"{path} has no labels that a report could name")
        known = (*model.labels.names, *model.concepts)
        if unknown := sorted({*codes} - {*known}):
            raise ConfigError(f"the codes name {unknown[0]!r}, which is no label or concept of {path}: {', '.join(known)}")
        self._highdicom, self._model, self._folder, self._codes = highdicom, model, folder, codes
        self._sum, self._version = (read_metadata(path, f"medzoo.{key}") or "" for key in ("sha256", "version"))
        self._written: set[Path] = set()
        self.uncoded = [name for name in known if name not in codes]
        """Labels and concepts that get a code of medzoo's own scheme."""

    def write(self, source: Any, outputs: Mapping[str, NDArray[Any]]) -> Path:
        """Write the report of one image.

        Args:
            source: Path of its DICOM file, or a frame of it.
            outputs: What the model said of it.

        Raises:
            ImageError: If it is no DICOM file, or lacks what a report refers to; names it.
            ConfigError: If a report of another image has the name, or it cannot be written.
        """
        file: Any
        file, frame = (source.source, source.number) if isinstance(source, Frame) else (source, None)
        if not isinstance(file, str | Path):
            raise ImageError(f"a report stands beside a DICOM file, not beside a {type(file).__name__}")
        report = self.report(source, outputs)
        suffix = "" if frame is None else f".{frame}"
        target = self._folder / f"{Path(file).stem}{suffix}.sr.dcm"
        if target in self._written:
            raise ConfigError(f"two images would have the report {target}; predict their folders one by one")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            report.save_as(target, enforce_file_format=True)
        except OSError as error:
            raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
        self._written.add(target)
        return target

    def report(self, source: Any, outputs: Mapping[str, NDArray[Any]]) -> Any:
        """Return the report of one image, a dataset of pydicom's.

        Args:
            source: Path or bytes of its DICOM file, or a frame of it.
            outputs: What the model said of it.

        Raises:
            ImageError: As `write`.
        """
        file, frame = (source.source, source.number) if isinstance(source, Frame) else (source, None)
        return self._report(self._header(file), frame, outputs)

    def _header(self, file: Any) -> Any:
        import pydicom

        if not isinstance(file, str | Path | bytes):
            raise ImageError(f"a report is of a DICOM file, not of a {type(file).__name__}")
        name = "the image" if isinstance(file, bytes) else str(file)
        try:
            image = pydicom.dcmread(BytesIO(file) if isinstance(file, bytes) else file, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:  # whose own advice is to read it by force
            raise ImageError(f"{name}: a report is written of DICOM images alone, and this is none") from None
        except Exception as error:  # a parser fed with hostile bytes may raise anything
            raise ImageError(f"{name}: a report is written of DICOM images alone ({error})") from None
        for keyword in _NEEDED:
            if not image.get(keyword):
                raise ImageError(f"{name}: has no {keyword}, to which a report would refer")
        for keyword in _MAY_BE_EMPTY:
            if keyword not in image:
                setattr(image, keyword, "")
        return image

    def _uid(self, *of: Any) -> Any:
        """Return the UID of what is named by parts."""
        return self._highdicom.UID(f"2.25.{uuid.uuid5(_SPACE, json.dumps([self._sum, self._version, *of])).int}")

    def _report(self, image: Any, frame: int | None, outputs: Mapping[str, NDArray[Any]]) -> Any:
        sr = self._highdicom.sr
        of = (str(image.StudyInstanceUID), str(image.SOPInstanceUID), frame, sorted(self._codes.items()))
        device = sr.DeviceObserverIdentifyingAttributes(
            uid=self._uid("device"), name="medzoo", manufacturer_name="medzoo", model_name=self._model.spec.get("architecture"),
            serial_number=self._sum or None,
        )  # fmt: skip
        kind = sr.CodedConcept("121007", "DCM", "Device")
        observer = sr.ObserverContext(observer_type=kind, observer_identifying_attributes=device)
        content = sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=observer),
            procedure_reported=sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
            imaging_measurements=list(self._groups(image, frame, outputs, of)),
        )
        made = sr.ComprehensiveSR(
            evidence=[image], content=content[0], series_instance_uid=self._uid("series", *of), series_number=1,
            sop_instance_uid=self._uid("report", *of), instance_number=1, manufacturer="medzoo", is_complete=True, is_final=False,
            is_verified=False,
        )  # fmt: skip
        made.SeriesDescription = NOTICE[:64]
        return made

    def _groups(self, image: Any, frame: int | None, outputs: Mapping[str, NDArray[Any]], named: Any) -> Iterator[Any]:
        """Yield a group of measurements of each label and concept."""
        sr = self._highdicom.sr
        said = said_of(outputs, self._model.labels, self._model.concepts, self._model.points)
        algorithm = sr.AlgorithmIdentification(name="medzoo", version=self._version or "unknown", parameters=[self._sum, NOTICE])
        of = sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID, None if frame is None else [frame + 1])
        values = {**said.get("probabilities", said.get("values", {})), **said.get("concepts", {})}
        for place, (name, value) in enumerate(values.items(), start=1):
            evaluations = []
            if name in said.get("probabilities", {}):
                evaluations = [sr.QualitativeEvaluation(title, self._yes(answer)) for title, answer in self._judged(name, said)]
            quantity = "values" in said and name in said["values"]
            unit = said.get("units", {}).get(name) if quantity else None
            yield sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(uid=self._uid("finding", name, *named), identifier=f"medzoo {place}"),
                finding_type=self._coded(name),
                algorithm_id=algorithm,
                measurements=[
                    sr.Measurement(
                        name=self._own("value", "Value") if quantity else self._own("probability", "Probability"),
                        value=value,
                        unit=sr.CodedConcept("1", "UCUM", "no units") if unit is None else self._own(unit, unit),
                    )
                ],
                qualitative_evaluations=evaluations or None,
                source_images=[of],
            )

    def _judged(self, name: str, said: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
        """Yield what was decided of a label, and whether it holds."""
        if "class" in said:
            yield self._own("class", "Most probable class"), said["class"] == name
        if "prediction_set" in said:
            yield self._own("prediction set", "In the prediction set"), name in said["prediction_set"]
        for rule, calls in said.get("calls", {}).items():
            if calls[name] is not None:
                yield self._own(f"called at {rule}", f"Called at {rule}"), calls[name]

    def _coded(self, name: str) -> Any:
        return self._own(name, name) if name not in self._codes else self._highdicom.sr.CodedConcept(*self._codes[name])

    def _own(self, value: str, meaning: str) -> Any:
        return self._highdicom.sr.CodedConcept(value, SCHEME, meaning[:LONGEST_MEANING])

    def _yes(self, answer: bool) -> Any:
        code = ("373066001", "SCT", "Yes") if answer else ("373067005", "SCT", "No")
        return self._highdicom.sr.CodedConcept(*code)
