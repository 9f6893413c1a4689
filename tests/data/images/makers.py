"""Tiny files of every kind, with whatever header a test wants to plant."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
"""0..4080 in steps of 16: 12 bits."""


def encoded(image: Image.Image | NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, form, **options)
    return out.getvalue()


def dicom_data(pixels: NDArray[Any] | None = RAMP, syntax: str = "1.2.840.10008.1.2.1", **tags: Any) -> Any:
    """A data set of one gray frame of 12 of 16 bits, or as `tags` say; None takes an element away."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    data = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = SecondaryCaptureImageStorage, "1.2.3.4", "OT"
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    if pixels is not None:
        data.Rows, data.Columns = pixels.shape[:2]
        data.PixelData = pixels.tobytes()
        data["PixelData"].VR = "OW"
        if pixels.ndim == 3:
            data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        if pixels.dtype.itemsize == 1:
            data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
            data["PixelData"].VR = "OB"
    for keyword, value in tags.items():
        if value is None:
            del data[keyword]
        else:
            setattr(data, keyword, value)
    return data


def film_data(frames: NDArray[Any], **tags: Any) -> Any:
    """A data set of several frames, (N, H, W) or (N, H, W, 3), described as `dicom_data` does one."""
    data = dicom_data(frames[0], **{"NumberOfFrames": len(frames), **tags})
    data.PixelData = frames.tobytes()
    return data


def film(frames: NDArray[Any], **tags: Any) -> bytes:
    return written(film_data(frames, **tags))


def animation(pictures: list[Image.Image], form: str, **options: Any) -> bytes:
    """An animated GIF, WebP or PNG, or a TIFF of several pages."""
    return encoded(pictures[0], form, save_all=True, append_images=pictures[1:], **options)


def lossless(pixels: NDArray[Any], **tags: Any) -> Any:
    """A data set whose 12-bit pixels are compressed by JPEG lossless."""
    import imagecodecs
    from pydicom.encaps import encapsulate

    data = dicom_data(pixels, **tags)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
    data.PixelData = encapsulate([imagecodecs.ljpeg_encode(pixels, bitspersample=12)])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    return data


def written(data: Any, preamble: bool = True) -> bytes:
    """The bytes of a data set; without the preamble, mark and meta information if asked."""
    import pydicom

    out = io.BytesIO()
    if preamble:
        pydicom.dcmwrite(out, data, enforce_file_format=True)
        return out.getvalue()
    del data.file_meta
    pydicom.dcmwrite(out, data, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return out.getvalue().removeprefix(b"\0" * 128 + b"DICM")


def dicom(pixels: NDArray[Any] | None = RAMP, **tags: Any) -> bytes:
    return written(dicom_data(pixels, **tags))


def bomb() -> bytes:
    """A deflated file of 2 MiB in 2 KiB, behind meta information that is longer than one looks at first."""
    import zlib

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, kind, len(value)) + value

    meta = element(2, 3, b"UI", b"1.2.3.4" + bytes(5000)) + element(2, 16, b"UI", b"1.2.840.10008.1.2.1.99")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    elements = element(0x28, 16, b"US", b"\4\0") + struct.pack("<HH2sHI", 0x7FE0, 16, b"OW", 0, 2 << 20)
    packed = packer.compress(elements + bytes(2 << 20)) + packer.flush()
    length = element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return b"\0" * 128 + b"DICM" + length + meta + packed


def item(**tags: Any) -> Any:
    import pydicom

    made = pydicom.Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Bytes with another value planted that the writing library would refuse."""
    assert data.count(old) == 1
    assert len(old) == len(new)
    return data.replace(old, new)


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    import tifffile

    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"metadata": None, **options})
    return out.getvalue()


def nifti(voxels: NDArray[Any], affine: NDArray[Any] | None = None, packed: bool = True, **header: Any) -> bytes:
    import gzip

    import nibabel

    image = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine)  # type: ignore[no-untyped-call]
    if "slope" in header:
        image.header.set_slope_inter(header["slope"], header["inter"])  # type: ignore[no-untyped-call]
    data = image.to_bytes()
    return gzip.compress(data, mtime=0) if packed else data
