"""DICOM series of drawn voxels, as pydicom writes them, a file a slice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
WINDOW = (-1000.0, 1000.0)
VOXELS = np.random.default_rng(0).integers(0, 2000, (5, 6, 7)).astype(np.uint16)  # (D, H, W) as stored


def save(path: Path, pixels: np.ndarray, **elements: Any) -> None:
    """Write one slice; an element that is None is left out."""
    dataset = pydicom.Dataset()
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    usual = {"SeriesInstanceUID": "1.2.3", "RescaleSlope": 1, "RescaleIntercept": -1024}
    for keyword, value in {**usual, **elements}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = pixels.astype(np.uint16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write(
    folder: Path, places: Sequence[float] = (0, 2.5, 5, 7.5, 10), orientation: tuple[float, ...] = AXIAL, names: str = "cbaed",
    **elements: Any
) -> Path:  # fmt: skip
    """Write a series whose files' names and numbers say nothing of where slices lie; slice n is VOXELS[n]."""
    normal = np.cross(orientation[:3], orientation[3:])
    for number, place in enumerate(places):
        position = list(map(float, normal * place + (3.0, -4.0, 100.0)))
        given = {"ImagePositionPatient": position, "ImageOrientationPatient": list(orientation), "InstanceNumber": 9 - number}
        save(folder / f"{names[number]}.dcm", VOXELS[number % 5], **{**given, **elements})
    return folder
