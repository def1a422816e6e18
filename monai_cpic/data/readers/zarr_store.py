"""Opening Zarr stores on disk and behind URLs, with retries."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import math
import os
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import fsspec
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from monai_cpic.data.cache.expansion import unpacked_size
from monai_cpic.data.readers.base import damaged, is_url

__all__ = ["open_array", "open_group", "version", "with_retries"]

TIMEOUT = 60.0  # seconds that one request may take
EXPANSION = 8  # times the size of a chunk's voxels: codecs may convert numbers to larger ones first
DELAYS = (0.2, 0.8, 3.2)  # seconds before each new attempt
# What decoders and readers of metadata raise; networks have classes of their own.
DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, ValueError),
    *(gzip.BadGzipFile, zlib.error),
)

METADATA = ("zarr.json", ".zarray")  # of an array, of versions 3 and 2 of the format
MARKS = ("size", "created", "mtime", "updated", "LastModified", "Last-Modified", "last_modified", "ETag", "Content-MD5")

T = TypeVar("T")


class _CheckedStore(WrapperStore[Store]):
    """Bounds the time of a request, and checks what compressed chunks announce before a decoder believes it.

    A decoder takes the memory that a chunk announces, and that of Blosc silently accepts truncated chunks.
    """

    codec = ""  # of chunks, if their files hold nothing else
    most = 0  # bytes that they may unpack to

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        value = await asyncio.wait_for(super().get(key, prototype, byte_range), TIMEOUT)
        if value is not None and self.codec and not key.rsplit("/", 1)[-1].startswith((".z", "zarr.json")):
            packed = value.as_numpy_array().view("u1").data
            unpacked = unpacked_size(self.codec, packed, self.most)
            if unpacked is not None and unpacked > self.most:
                raise ValueError(f"it unpacks to {unpacked} bytes or more, {self.most} are the most that its array allows")
            announced = int.from_bytes(packed[12:16], "little")
            if "blosc" in self.codec.lower() and announced != len(packed):
                raise ValueError(f"it has {len(packed)} bytes, its header announces {announced}")
        return value


def open_group(location: str, storage_options: str = "{}") -> Any:
    """Open the root group of a store, read-only.

    Args:
        location: folder or URL.
        storage_options: of fsspec, as JSON.
    """
    return zarr.open_group(_CheckedStore(_store(location, storage_options)), mode="r")


def open_array(location: str, path: str, storage_options: str = "{}") -> Any:
    """Open an array of a store, read-only; the arguments are those of :func:`open_group`."""
    store = _CheckedStore(_store(location, storage_options))
    array = zarr.open_array(store, path=path, mode="r")
    if array.shards is None and array.compressors:  # a shard holds many chunks, of which only parts are requested
        store.codec = type(array.compressors[-1]).__name__
        store.most = EXPANSION * math.prod(array.chunks) * array.dtype.itemsize
    return array


def version(location: str, path: str, storage_options: str = "{}") -> str:
    """What tells the metadata of an array from those that replace them: size, time, and the marks of a server, such as an ETag.

    The arguments are those of :func:`open_array`; the options are a part, since the same URL may be on several servers.

    Raises:
        FileNotFoundError: if there is no array.
        OSError: if a remote store does not answer.
    """
    for name in METADATA:
        with contextlib.suppress(FileNotFoundError):
            if not is_url(location):
                status = os.stat(f"{location}/{path}/{name}")
                return f"{status.st_size} {status.st_mtime_ns}"
            files, root = fsspec.url_to_fs(location, **json.loads(storage_options))
            found = with_retries(partial(files.info, f"{root}/{path}/{name}"), f"{location}: {path}")
            options = hashlib.sha256(storage_options.encode()).hexdigest()[:16]
            return f"{ {mark: found[mark] for mark in MARKS if mark in found} } {options}"
    raise FileNotFoundError(f"{location} has no array {path}")


def _store(location: str, storage_options: str) -> FsspecStore | LocalStore:
    if is_url(location):
        return FsspecStore.from_url(location, storage_options=json.loads(storage_options), read_only=True)
    return LocalStore(location, read_only=True)


def with_retries(action: Callable[[], T], location: str, part: str = "") -> T:
    """Run an action on a store, and repeat it if the store is remote and it fails for another reason than the store's content.

    Args:
        action: what to do.
        location: folder or URL.
        part: of the store that is read, for messages.

    Returns:
        the result of the action.

    Raises:
        ValueError: if the content is damaged.
        FileNotFoundError: if it is not there.
        OSError: if the last attempt fails.
    """
    name = f"{location}: {part}" if part else location
    if not is_url(location):
        with damaged(name, "is damaged"):
            return action()
    for delay in (*DELAYS, None):
        try:
            return action()
        except (FileNotFoundError, ImportError):
            raise
        except DAMAGED as error:
            raise ValueError(f"{name} is damaged: {error}; fetch it again") from error
        except Exception as error:  # each file system has its own classes of network errors
            if delay is None:
                raise OSError(
                    f"{name} cannot be read, after {len(DELAYS) + 1} attempts: {error!r}; check the connection"
                ) from error
            time.sleep(delay)
    raise AssertionError
