"""Streams of deflate, of which SimpleITK ignores damage: whether one is complete, and not far larger than it looks."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

from monai_cpic.data.cache.expansion import check_expansion

__all__ = ["GZIP_OR_ZLIB", "NEITHER", "inflated_size"]

GZIP_OR_ZLIB, NEITHER = 47, -zlib.MAX_WBITS  # zlib's windowBits: of streams with a header and a checksum, and without
CHUNK = 2**16  # bytes that are inflated at a time, to a thousand times as many at most


def inflated_size(
    path: Path, file: Path, begin: int, length: int | None = None, limit: float = math.inf, window: int = GZIP_OR_ZLIB
) -> int:
    """Inflate a stream, and forget it.

    Args:
        path: of the scan, for messages.
        file: where the stream is.
        begin: its first byte.
        length: its bytes; default: up to the end of the file.
        limit: stop when more bytes than this have been inflated.
        window: :data:`GZIP_OR_ZLIB` or :data:`NEITHER`.

    Returns:
        the number of bytes that are inflated.

    Raises:
        ValueError: if the stream is truncated, its checksum is not that of the content, or it becomes too large
            (:func:`~monai_cpic.data.cache.expansion.check_expansion`).
    """
    packed = left = file.stat().st_size if length is None else length
    inflating, found = zlib.decompressobj(window), 0
    with file.open("rb") as stream:
        stream.seek(begin)
        while not inflating.eof and (chunk := stream.read(min(left, CHUNK))):
            left -= len(chunk)
            try:
                found += len(inflating.decompress(chunk))
            except zlib.error as error:
                raise ValueError(f"{path} is damaged: {error}; fetch it again") from error
            check_expansion(str(path), packed, found)
            if found > limit:
                return found
    if not inflating.eof:
        raise ValueError(f"{path} is truncated or damaged: what is compressed in it has no end; fetch it again")
    return found
