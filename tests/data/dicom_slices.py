"""DICOM series that tests write, edited slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from monai_cpic.data import LazyVolume, open_volume

SERIES = generate_uid()


Edit = Callable[[FileDataset, int], None]


def write_slice(path: Path, number: int, edit: Edit | None = None, shape: tuple[int, int] = (6, 5)) -> None:
    """One CT slice; the stored value of a voxel tells where it is."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = SERIES, SERIES
    dataset.Modality, dataset.PatientID = "CT", "P1"
    dataset.InstanceNumber = number + 1
    dataset.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.5 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.75], 2.5
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = (np.arange(shape[0] * shape[1], dtype="<i2") + 100 * number).tobytes()
    if edit is not None:
        edit(dataset, number)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def write_series(folder: Path, count: int = 6, edit: Edit | None = None) -> Path:
    """``1.dcm`` … ``count.dcm``, from feet to head."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_slice(folder / f"{number + 1}.dcm", number, edit)
    return folder


def voxels(volume: LazyVolume) -> np.ndarray:
    """All voxels ``[X, Y, Z]``, read through :meth:`gather`."""
    shape = torch.tensor(volume.shape[1:])
    return volume.gather((shape // 2)[None], shape.tolist())[0, 0].numpy()


def refused(folder: Path, cache: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        open_volume(folder, cache_dir=cache)
    assert str(folder) in str(error.value)
    assert not cache.exists() or not list(cache.iterdir())  # nothing half-written
