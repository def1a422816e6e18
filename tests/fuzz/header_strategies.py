"""Strategies of hypothesis for files whose headers say anything that their format can say."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import nibabel
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

__all__ = ["metaimage_files", "nifti_files", "npy_files"]

ODD = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 1e38, np.inf, -np.inf, np.nan])
NUMBERS = ODD | st.floats(-100, 100, width=32)
EDGES = st.integers(1, 5)
MET_TYPES = {"MET_SHORT": "i2", "MET_USHORT": "u2", "MET_UCHAR": "u1", "MET_INT": "i4", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}


def voxels(count: int, dtype: np.dtype[Any]) -> bytes:
    return np.random.default_rng(count).integers(0, 100, count).astype(dtype).tobytes()


@st.composite
def nifti_files(draw: st.DrawFn) -> bytes:
    """Uncompressed NIfTI files: any geometry, scaling, byte order and offset of the voxels, one to five axes."""
    dtype = draw(st.sampled_from([np.dtype(name) for name in ("u1", "<i2", "<u2", "<i4", "<f4", "<f8", "<c8")]))
    shape = draw(st.lists(EDGES, min_size=1, max_size=3)) + draw(st.sampled_from([[], [1], [2], [1, 1]]))
    order = draw(st.sampled_from("<>"))
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    fields = header.structarr
    for name in ("scl_slope", "scl_inter", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        fields[name] = draw(NUMBERS)
    for name in ("srow_x", "srow_y", "srow_z"):
        fields[name] = draw(st.lists(NUMBERS, min_size=4, max_size=4))
    fields["pixdim"] = [draw(st.sampled_from([-1.0, 1.0, 0.0])), *draw(st.lists(NUMBERS, min_size=7, max_size=7))]
    fields["qform_code"], fields["sform_code"] = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    offset = draw(st.sampled_from([352, 368, 0, -16, 10**6]))
    fields["vox_offset"], fields["magic"] = offset, b"n+1"
    return header.binaryblock + bytes(max(0, min(offset, 400) - 348)) + voxels(int(np.prod(shape)), dtype.newbyteorder(order))


@st.composite
def metaimage_files(draw: st.DrawFn) -> tuple[bytes, NDArray[Any] | None]:
    """MetaImage files of one file, and their voxels ``[C, X, Y, Z]``, or None if an entry is broken."""
    kind, shape = draw(st.sampled_from(sorted(MET_TYPES))), draw(st.lists(EDGES, min_size=3, max_size=3))
    channels, compressed, big = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    dtype = np.dtype(MET_TYPES[kind]).newbyteorder(">" if big else "<")
    data = voxels(int(np.prod(shape)) * channels, dtype)
    packed = zlib.compress(data) if compressed else data
    entries = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(big),
        "CompressedData": str(compressed),
        **({"CompressedDataSize": str(len(packed))} if compressed else {}),
        "ElementSpacing": " ".join(str(draw(st.floats(0.01, 10))) for _ in range(3)),
        "DimSize": " ".join(map(str, shape)),
        "ElementNumberOfChannels": str(channels),
        "ElementType": kind,
    }
    if draw(st.booleans()):
        broken = draw(st.sampled_from(["NDims", "DimSize", "ElementNumberOfChannels", "ElementType"]))
        entries[broken] = draw(st.sampled_from(["", "0", "-1", "1e30", "nan", "4 4 0", "99999999999", "\u00e9"]))
        return _metaimage(entries, packed), None
    return _metaimage(entries, packed), np.frombuffer(data, dtype).reshape(*shape[::-1], channels).T


def _metaimage(entries: dict[str, str], packed: bytes) -> bytes:
    text = "".join(f"{key} = {value}\n" for key, value in entries.items()) + "ElementDataFile = LOCAL\n"
    return text.encode() + packed


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    """``.npy`` files of any version, dtype, order and shape, of which some are longer or shorter than announced."""
    dtype = draw(st.sampled_from(["<i2", ">f4", "<f8", "|u1", "?", "<c8", "|O", "<U3", "[('a', '<i2')]", "x"]))
    shape = draw(st.lists(st.integers(0, 5), min_size=1, max_size=5).map(tuple) | st.sampled_from([(2**62, 4, 4), (-1, 4, 4), 3]))
    text = f"{{'descr': {dtype if dtype[0] == '[' else repr(dtype)}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape!r}}}"
    version = draw(st.sampled_from([1, 2, 3, 9]))
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + b"\n" + bytes(draw(st.integers(0, 4000)))
