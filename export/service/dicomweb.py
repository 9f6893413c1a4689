"""A request that names an image in an archive: fetched, answered, and a report of the answer stored where that was asked for.

It names the image by three UIDs and nothing else, so that nobody can make the service ask another host.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from medzoo.data.errors import MedzooError
from medzoo.data.images.dicom.header import refuse_bomb
from medzoo.export.service.archive import Archive
from medzoo.export.service.limits import RefusedError, Room, refused
from medzoo.export.service.sent import Upload, json_object
from medzoo.export.service.served import Answer, Served

if TYPE_CHECKING:
    from medzoo.export.runtime.dicom_report import DicomReports

KEYS = ("study", "series", "instance")
LONGEST_UID = 64
_TAGS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)


@dataclass(frozen=True)
class Named:
    """A request that names an image in the archive.

    Attributes:
        uids: Of study, series and instance.
        model: Name of the model; None: the only one.
        store: Whether a report of the answer is stored in the study.
    """

    uids: tuple[str, str, str]
    model: str | None
    store: bool


def read_named(body: bytes) -> Named:
    """Return what a request's JSON names; RefusedError (400, 422) if it is not so."""
    asked = json_object(body)
    if unknown := sorted({*asked} - {*KEYS, "model", "store"}):
        raise RefusedError(422, f"unknown option {unknown[0][:100]!r}; known: {', '.join(KEYS)}, model, store")
    model, store = asked.get("model"), asked.get("store", False)
    if not isinstance(model, str | None) or not isinstance(store, bool):
        raise RefusedError(422, "model is no name, or store is neither true nor false")
    return Named(uids_of(asked), model, store)


async def answer_named(
    named: Named, served: Served, archive: Archive, reports: DicomReports | None, memory: Room
) -> tuple[Answer, str | None]:
    """Fetch an image, answer it, and store the report where that was asked for.

    Args:
        named: What the request says.
        served: The model.
        archive: Where the image is.
        reports: Of the model; None: nothing is stored.
        memory: Of the service.

    Returns:
        The answer, and the UID of the report that was stored.

    Raises:
        RefusedError: If any of it cannot be done: then nothing was stored, but where the archive is too slow to say so, or
            breaks off (504). Asked once more, the report has the UID that it had, so that there are no two.
    """
    if served.kind.described()["takes"] not in ("images", "volumes") or served.takes_classes:
        raise RefusedError(422, f"{served.name} takes more than one image; fetch what it takes, and ask /predict")
    if named.store and reports is None:
        raise RefusedError(422, f"reports of {served.name} are not stored; start the service with --dicomweb-store")
    with archive.room.held(1), memory.held() as held:
        until = archive.until()
        data = await archive.call(archive.fetch, *named.uids, held, until)
        await asyncio.to_thread(_check_instance, data, named.uids)
        (answer,) = await served.answer([Upload(named.uids[2], data)])
        if reports is None or not named.store:
            return answer, None
        try:
            report = await asyncio.to_thread(reports.report, data, answer.outputs)
        except MedzooError as error:
            raise refused(error) from None
        await archive.call(archive.store, named.uids[0], report, held, until)
        return answer, str(report.SOPInstanceUID)


def _check_instance(data: bytes, uids: tuple[str, str, str]) -> None:
    """Raise RefusedError (502) if a file is not the one that was asked for: it would be another patient's answer."""
    import pydicom

    try:
        refuse_bomb(data, "the image")  # before it is parsed: all of it is unpacked then
        found = pydicom.dcmread(BytesIO(data), specific_tags=list(_TAGS), stop_before_pixels=True)
        told = tuple(str(found.get(tag, "")) for tag in _TAGS)
    except MedzooError as error:
        raise RefusedError(502, f"the archive answers with a file that is not read ({error})") from None
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise RefusedError(502, f"the archive answers with no DICOM file ({' '.join(str(error).split())[:100]})") from None
    if told != uids:
        raise RefusedError(502, "the archive answers with another instance than was asked for")


def uids_of(asked: Any) -> tuple[str, str, str]:
    """Return study, series and instance of a request; RefusedError (422) if one is no UID (DICOM PS3.5, section 9)."""
    for key in KEYS:
        value = asked.get(key)
        if not isinstance(value, str) or len(value) > LONGEST_UID or not _UID.fullmatch(value):
            raise RefusedError(422, f"{key} is no UID of digits and points, at most {LONGEST_UID} characters")
    study, series, instance = (asked[key] for key in KEYS)
    return study, series, instance
