"""Opening Zarr stores on disk and behind URLs, with retries."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from monai_cpic.data.readers.base import damaged, is_url

__all__ = ["with_retries", "open_array", "open_group"]

DELAYS = (0.2, 0.8, 3.2)  # seconds before each new attempt
# What decoders and readers of metadata raise; networks have classes of their own.
DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, ValueError),
    *(gzip.BadGzipFile, zlib.error),
)

T = TypeVar("T")


class _BloscStore(WrapperStore[Store]):
    """Checks the length of chunks compressed by Blosc against their header, as its decoder silently accepts truncated ones."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        value = await super().get(key, prototype, byte_range)
        if value is not None and byte_range is None and not key.rsplit("/", 1)[-1].startswith((".z", "zarr.json")):
            announced = int.from_bytes(value[:16].to_bytes()[12:], "little")
            if announced != len(value):
                raise ValueError(f"it has {len(value)} bytes, its header announces {announced}")
        return value


def open_group(location: str, storage_options: str = "{}") -> Any:
    """Open the root group of a store, read-only.

    Args:
        location: folder or URL.
        storage_options: of fsspec, as JSON.
    """
    return zarr.open_group(_store(location, storage_options), mode="r")


def open_array(location: str, path: str, storage_options: str = "{}") -> Any:
    """Open an array of a store, read-only; the arguments are those of :func:`open_group`."""
    array = zarr.open_array(_store(location, storage_options), path=path, mode="r")
    if array.shards is None and any("blosc" in type(codec).__name__.lower() for codec in array.compressors):
        array = zarr.open_array(_BloscStore(array.store), path=path, mode="r")
    return array


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
