"""Small scans of each format, and what another program than the reader says that their voxels are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import SimpleITK
import zarr
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from zarr.codecs import BloscCodec, GzipCodec

__all__ = ["FORMATS", "Format"]

SHAPE = (7, 6, 5)  # X, Y, Z
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, ExplicitVRBigEndian]
MET = {
    **{"CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4"},
    **{"LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8"},
}
NRRD = {
    "short": "i2",
    "uchar": "u1",
    "signed char": "i1",
    "unsigned char": "u1",
    "float": "f4",
    "int": "i4",
    "unsigned short": "u2",
}


@dataclass(frozen=True)
class Format:
    """One kind of scan.

    Args:
        write: one of several scans into an empty folder, by its number; returns the path to open.
        read: its voxels ``[C, X, Y, Z]`` by another program than the reader; raises anything if it cannot read them.
    """

    write: Callable[[Path, int], Path]
    read: Callable[[Path], NDArray[Any]]


def values(number: int, dtypes: tuple[str, ...] = ("<i2", "u1", "<f4")) -> NDArray[Any]:
    """``[X, Y, Z]``."""
    dtype = np.dtype(dtypes[number % len(dtypes)])
    return np.random.default_rng(number).integers(0, 200, SHAPE).astype(dtype)


# ---- NIfTI and numpy -----------------------------------------------------------------------------------------------------


def write_nifti(name: str) -> Callable[[Path, int], Path]:
    def write(folder: Path, number: int) -> Path:
        image = nibabel.Nifti1Image(values(number, ("<i2", "u1", "<f4", "<f8")), np.diag([-0.7, 0.8, 2.5, 1.0]))
        if number % 2:
            image.header.set_slope_inter(0.5, -1000)
        image.to_filename(folder / name)
        return folder / name

    return write


def read_nifti(path: Path) -> NDArray[Any]:
    image: Any = nibabel.load(path)
    voxels = np.asarray(image.dataobj)
    return voxels.reshape(voxels.shape[:3] + tuple(n for n in voxels.shape[3:] if n > 1))[None]


def write_npy(folder: Path, number: int) -> Path:
    scan = values(number)[None]
    np.save(folder / "scan.npy", np.asfortranarray(scan) if number % 2 else scan)
    return folder / "scan.npy"


# ---- MetaImage and NRRD --------------------------------------------------------------------------------------------------


def write_itk(name: str) -> Callable[[Path, int], Path]:
    def write(folder: Path, number: int) -> Path:
        image = SimpleITK.GetImageFromArray(values(number).T)
        image.SetSpacing((0.7, 0.8, 2.5))
        SimpleITK.WriteImage(image, str(folder / name), number % 4 > 0)  # three of four are compressed
        return folder / name

    return write


def read_metaimage(path: Path) -> NDArray[Any]:
    header, _, rest = path.read_bytes().partition(b"ElementDataFile")
    entries = dict(line.split(" = ", 1) for line in header.decode("latin-1").splitlines() if " = " in line)
    name, _, data = rest.partition(b"\n")
    if name.strip(b" =\r") != b"LOCAL":
        data = (path.parent / name.strip(b" =\r").decode()).read_bytes()
    if _true(entries, "CompressedData"):
        data = zlib.decompress(data[: int(entries.get("CompressedDataSize", len(data)))])
    order = ">" if _true(entries, "BinaryDataByteOrderMSB") else "<"
    shape = [int(word) for word in entries["DimSize"].split()]
    channels = int(entries.get("ElementNumberOfChannels", 1))
    stored = np.frombuffer(data, order + MET[entries["ElementType"].removeprefix("MET_").strip()], np.prod(shape) * channels)
    return stored.reshape(*shape[::-1], channels).T


def _true(entries: dict[str, str], name: str) -> bool:
    """Whether an entry of a MetaImage header is true, as MetaIO has it."""
    return entries.get(name, "F").strip().startswith(("T", "t", "1"))


def read_nrrd(path: Path) -> NDArray[Any]:
    header, data = re.split(rb"\r?\n\r?\n", path.read_bytes(), maxsplit=1)
    lines = [line for line in header.decode("latin-1").splitlines()[1:] if ": " in line and not line.startswith("#")]
    entries = dict(line.split(": ", 1) for line in lines)
    data = zlib.decompressobj(31).decompress(data) if entries["encoding"] in ("gzip", "gz") else data
    shape = [int(word) for word in entries["sizes"].split()]
    dtype = np.dtype((">" if entries.get("endian") == "big" else "<") + NRRD[entries["type"]])
    stored = np.frombuffer(data, dtype, np.prod(shape)).reshape(shape[::-1]).T
    return stored if len(entries["kinds"].split()) > 3 else stored[None]


# ---- DICOM ---------------------------------------------------------------------------------------------------------------


def write_dicom(folder: Path, number: int) -> Path:
    syntax: Any
    syntax, scan = SYNTAXES[number % len(SYNTAXES)], values(number, ("<i2",))
    (folder / "scan").mkdir()
    for k in range(SHAPE[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID(f"1.2.3.{k}")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = CTImageStorage, f"1.2.3.{k}", "1.2.3"
        dataset.Modality, dataset.PatientID, dataset.InstanceNumber = "CT", "P1", k + 1
        dataset.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.5 * k]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [0.8, 0.7], 2.5
        dataset.Rows, dataset.Columns = SHAPE[1], SHAPE[0]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, f"MONOCHROME{1 + number % 2}"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 2
        stored = np.ascontiguousarray(scan[:, :, k].T)
        dataset.PixelData = stored.astype(">i2" if syntax == ExplicitVRBigEndian else "<i2").tobytes()
        dataset["PixelData"].VR = "OW"
        if syntax == RLELossless:
            dataset.compress(RLELossless, stored)
        pydicom.dcmwrite(folder / "scan" / f"{k + 1}", dataset, enforce_file_format=True)
    return folder / "scan"


def read_dicom(path: Path) -> NDArray[Any]:
    slices = [pydicom.dcmread(file, force=True) for file in path.iterdir()]
    slices.sort(key=lambda piece: float(np.dot(piece.ImagePositionPatient, _normal(piece))))
    stored = [piece.pixel_array * float(piece.RescaleSlope) + float(piece.RescaleIntercept) for piece in slices]
    return np.stack(stored).T[None]


def _normal(piece: FileDataset) -> NDArray[Any]:
    orientation = np.array(piece.ImageOrientationPatient, float)
    return np.cross(orientation[:3], orientation[3:])


# ---- OME-Zarr ------------------------------------------------------------------------------------------------------------


def write_zarr(folder: Path, number: int) -> Path:
    version: Any = 2 + number % 2
    group: Any = zarr.create_group(str(folder / "scan.zarr"), zarr_format=version)
    coder: Any = {2: [None, "auto"], 3: [None, GzipCodec(), "auto", BloscCodec()]}[version]
    scan = values(number).T
    array = group.create_array("0", shape=scan.shape, dtype=scan.dtype, chunks=(3, 4, 4), compressors=coder[number % len(coder)])
    array[...] = scan
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    steps = [{"type": "scale", "scale": [2.5, 0.8, 0.7]}]
    image = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs.update({"multiscales": [image]} if version == 2 else {"ome": {"version": "0.5", "multiscales": [image]}})
    return folder / "scan.zarr"


def read_zarr(path: Path) -> NDArray[Any]:
    group: Any = zarr.open_group(str(path), mode="r")
    attributes: Mapping[str, Any] = dict(group.attrs)
    image = attributes.get("ome", attributes)["multiscales"][0]
    axes = [axis["name"] for axis in image["axes"]]
    stored = np.asarray(group[image["datasets"][0]["path"]])
    return stored.transpose([axes.index(name) for name in "xyz" if name in axes])[None]


FORMATS = {
    "nii": Format(write_nifti("scan.nii"), read_nifti),
    "nii.gz": Format(write_nifti("scan.nii.gz"), read_nifti),
    "npy": Format(write_npy, lambda path: np.load(path)),
    "mha": Format(write_itk("scan.mha"), read_metaimage),
    "mhd": Format(write_itk("scan.mhd"), read_metaimage),
    "nrrd": Format(write_itk("scan.nrrd"), read_nrrd),
    "dicom": Format(write_dicom, read_dicom),
    "zarr": Format(write_zarr, read_zarr),
}
