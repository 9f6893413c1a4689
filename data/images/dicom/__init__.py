"""DICOM files to pixels. Needs pydicom (extra `dicom`), imported when first used."""

from medzoo.data.images.dicom.decode import DicomFile as DicomFile
