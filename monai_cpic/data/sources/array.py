"""Voxels in memory, on the host or on an accelerator."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.pyramid.averaging import average
from monai_cpic.data.sources.base import Source, StridedSource
from monai_cpic.data.sources.finite import WAY_OUT

if TYPE_CHECKING:
    from monai_cpic.data.gather.sampling import Sampling

__all__ = ["ArraySource", "TensorSource"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArraySource(StridedSource):
    """Voxels in an array.

    Args:
        values: ``[C, *spatial]``.
    """

    values: NDArray[Any]

    def __repr__(self) -> str:
        """With a digest of all voxels: what is kept of a scan is found by this text."""
        return f"ArraySource({self.dtype.str}, {self.shape}, {self.scaling}, {self._digest})"

    @cached_property
    def _digest(self) -> str:
        return digest(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def array(self) -> NDArray[Any]:
        return self.values


@dataclass(frozen=True, eq=False)
class TensorSource(Source):
    """Voxels on an accelerator, where patches are read: see :meth:`LazyVolume.to`.  Cubic splines alone are computed on the host.

    Args:
        values: ``[C, *spatial]``, of a dtype that numpy has as well.
        origin: the source that they were read from, whose levels are theirs; None: levels are averaged on the accelerator.
    """

    values: Tensor
    origin: Source | None = None

    def __repr__(self) -> str:
        """Of voxels that come from nowhere else with a digest of all."""
        return f"TensorSource({self.dtype.str}, {self.shape}, {self.scaling}, {self.origin or self._digest!r})"

    @cached_property
    def _digest(self) -> str:
        return digest(self.values.cpu().numpy())

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.new_empty(0, device="cpu").numpy().dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    def patches(self, sampling: Sampling, starts: Tensor, size: Sequence[int], dtype: torch.dtype) -> Tensor:
        from monai_cpic.data.gather.on_device import patches_on_device  # which knows what reads sources

        if sampling.cubic:
            return sampling.patches(self, starts.cpu().numpy(), size, dtype).to(self.device)
        return patches_on_device(self.values, self._true, sampling, starts, size, dtype)

    def to(self, device: torch.device | str) -> Source:
        return replace(self, values=self.values.to(device))

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        key: tuple[slice | Tensor, ...] = (slice(None), *(torch.from_numpy(index).to(self.values.device) for index in indices))
        return self.values[key].cpu().numpy()

    def finite(self, name: str, fill: float | None = None) -> Source:
        """All voxels are looked at now, on the accelerator, which is quick there; those to be filled are filled in a copy."""
        bad = ~self.values.float().isfinite()
        if not bad.any():
            return self
        channel, *voxel = bad.nonzero()[0].tolist()
        found = f"{name}: voxel {tuple(voxel)} of channel {channel} is {self.values[(channel, *voxel)].item()}"
        if fill is None:
            raise ValueError(f"{found}, {WAY_OUT}")
        logger.warning("%s; %d such voxels are read as %g", found, int(bad.sum()), fill)
        return replace(self, values=self.values.masked_fill(bad, fill))

    def files(self) -> Sequence[Path]:
        return () if self.origin is None else self.origin.files()

    def _averaged(self, factors: tuple[int, ...]) -> Source:
        """On the accelerator, where the level stays."""
        if self.origin is not None:
            return self.origin.level(factors).to(self.device)
        thickness = max(32, factors[0])  # of the slabs that are converted at a time, a multiple of the factor
        slabs = self.values.split(thickness, 1)
        return TensorSource(torch.cat([average(self._true(slab, torch.float32), factors) for slab in slabs], 1))

    def _true(self, stored: Tensor, dtype: torch.dtype) -> Tensor:
        """True values of stored numbers."""
        slope, intercept = self.scaling
        values = stored.to(dtype)
        values = values if slope == 1 else values * slope
        return values if intercept == 0 else values + intercept


def digest(values: NDArray[Any]) -> str:
    """A text that differs for arrays of other values."""
    return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest()
