"""Voxels in memory, on the host or on an accelerator."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.data.pyramid.averaging import average
from monai_cpic.data.sources.base import Source, StridedSource
from monai_cpic.data.sources.finite import WAY_OUT

__all__ = ["ArraySource", "TensorSource"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArraySource(StridedSource):
    """Voxels in an array.

    Args:
        values: ``[C, *spatial]``.
    """

    values: NDArray[Any]

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
    """Voxels on an accelerator, which stay there; only those that are read are copied to the host.

    Args:
        values: ``[C, *spatial]``, of a dtype that numpy has as well.
    """

    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.new_empty(0, device="cpu").numpy().dtype

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

    def _averaged(self, factors: tuple[int, ...]) -> Source:
        """On the accelerator, where the level stays."""
        thickness = max(32, factors[0])  # of the slabs that are converted at a time, a multiple of the factor
        slabs = self.values.split(thickness, 1)
        return TensorSource(torch.cat([average(self._true(slab), factors) for slab in slabs], 1))

    def _true(self, stored: Tensor) -> Tensor:
        return stored.float() if self.scaling == (1.0, 0.0) else stored.float() * self.scaling[0] + self.scaling[1]
