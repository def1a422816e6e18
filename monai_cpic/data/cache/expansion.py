"""How much larger than its file a scan may become: a small file must not fill the disk or the memory (decompression bombs)."""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from typing import Any

__all__ = ["check_expansion", "unpacked_size"]

RATIO = 200  # scans of nothing but background reach it, noise of a detector does not exceed 3
DEFAULT_LIMIT = 0.5  # GiB
PIECE = 2**20  # bytes that are unpacked at a time
MOST_DEFLATE = 1032  # bytes that one byte of gzip or zlib can become
SMALL = 2**28  # bytes that a chunk may become without being unpacked twice


def check_expansion(name: str, packed: int, unpacked: int) -> None:
    """Refuse a file that unpacks to more than :data:`RATIO` times its size and to more than a limit.

    The limit is the environment variable ``MONAI_CPIC_EXPANSION_LIMIT`` (GiB), default 0.5.

    Args:
        name: of the file, for messages.
        packed: its size in bytes.
        unpacked: bytes that have been unpacked so far.

    Raises:
        ValueError: if both are exceeded.
    """
    text = os.environ.get("MONAI_CPIC_EXPANSION_LIMIT") or str(DEFAULT_LIMIT)
    try:
        limit = float(text) * 2**30
    except ValueError as error:
        raise ValueError(f"MONAI_CPIC_EXPANSION_LIMIT={text!r} is not a number of GiB") from error
    if unpacked > max(limit, RATIO * packed):
        raise ValueError(
            f"{name} unpacks to more than {text} GiB and {RATIO} times its size: if it is no decompression bomb, raise "
            "MONAI_CPIC_EXPANSION_LIMIT (GiB)"
        )


def unpacked_size(codec: str, packed: memoryview, most: int) -> int | None:
    """What a compressed chunk unpacks to, before a decoder takes memory for it.

    Args:
        codec: name of the codec or its class, such as ``"ZstdCodec"``.
        packed: the chunk.
        most: bytes after which nothing more is counted.

    Returns:
        The number of bytes, at most a little more than ``most`` if they had to be counted; None for other codecs, and for a chunk
        of Zstandard that does not say.
    """
    codec = codec.lower()
    if "blosc" in codec:
        return int.from_bytes(packed[4:8], "little")
    if "zstd" in codec:
        return _announced_by_zstandard(packed)
    if "lz4" in codec:
        return int.from_bytes(packed[:4], "little")
    if "gzip" in codec or "zlib" in codec:
        return _counted(zlib.decompressobj(wbits=47), packed, most) if len(packed) * MOST_DEFLATE > max(most, SMALL) else None
    if "bz2" in codec:
        return _counted(bz2.BZ2Decompressor(), packed, most)
    if "lzma" in codec:
        return _counted(lzma.LZMADecompressor(), packed, most)
    return None


def _announced_by_zstandard(packed: memoryview) -> int | None:
    """The content size in the header of a frame (RFC 8878, 3.1.1.1)."""
    if len(packed) < 5:
        return None
    descriptor = packed[4]
    single = descriptor >> 5 & 1
    size = (single, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    return int.from_bytes(packed[start : start + size], "little") + (256 if size == 2 else 0) if size else None


def _counted(decoder: Any, packed: memoryview, most: int) -> int:
    """Bytes of the stream; what is not one is left to the decoder."""
    count, rest = 0, bytes(packed)
    try:
        while count <= most and not decoder.eof:
            piece = decoder.decompress(rest, PIECE)
            rest = getattr(decoder, "unconsumed_tail", b"")  # bz2 and lzma keep it themselves
            count += len(piece)
            if not piece:
                break
    except (OSError, lzma.LZMAError, zlib.error):
        pass
    return count
