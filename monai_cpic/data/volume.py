"""A volume as a handle: where its voxels are and what happens to them on the way, but no voxel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from monai_cpic.data.cubes import Cubes
from monai_cpic.data.sampling import Sampling
from monai_cpic.data.source import Source

__all__ = ["GRID_TOLERANCE", "LazyVolume", "distinct_volumes", "grid_distance", "list_collate"]

GRID_TOLERANCE = 0.01  # voxels: how far apart the same corner of two volumes of one grid may lie


@dataclass(frozen=True, eq=False)
class LazyVolume:
    """A scan of any size, of which only sampled cubes are read.

    Handles are small, picklable and immutable; a DataLoader collates them to a list.  A handle on a file pickles as its path.

    Args:
        source: the stored voxels.
        affine: float64 ``[D + 1, D + 1]``, from voxel positions to RAS millimetres.
        key: what the scan is known by, its path; None for one that exists in memory only.
        sampling: the grid on which the volume is seen; None for the stored one.
        intensity: what happens to cubes ``[N, C, *size]``, in order: functions voxel by voxel, picklable, as MONAI's
            ``ScaleIntensityRange``; or masks, volumes of the same grid, where they are not positive a cube is 0.
        cubes: some that have been read already.
    """

    source: Source
    affine: Tensor
    key: str | None = None
    sampling: Sampling | None = None
    intensity: tuple[Callable[[Tensor], Tensor] | LazyVolume, ...] = ()
    cubes: Cubes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``, as seen."""
        return self.source.shape if self.sampling is None else (self.source.shape[0], *self.sampling.shape)

    def __repr__(self) -> str:
        return f"LazyVolume(shape={self.shape}, key={self.key!r})"

    def gather(self, centres: Tensor, size: int | Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Cubes around voxels; voxels outside the volume are those of its border.

        Args:
            centres: int64 ``[N, D]``, anywhere.
            size: edge lengths; the first voxel of a cube is ``centre - size // 2``.
            dtype: float32 or float64 (MONAI's functions of intensities compute in float32).

        Returns:
            ``[N, C, *size]``.

        Raises:
            ValueError: if the centres or the size do not have ``D`` axes.
            FileNotFoundError: if the file has been removed.
        """
        axes = len(self.shape) - 1
        edges = (size,) * axes if isinstance(size, int) else tuple(size)
        if centres.ndim != 2 or centres.shape[1] != axes or len(edges) != axes or min(edges) < 1:
            raise ValueError(
                f"{self!r} needs centres [N, {axes}] and {axes} positive edges, got {tuple(centres.shape)} and {edges}"
            )
        if self.cubes is not None and dtype == self.cubes.values.dtype and edges == tuple(self.cubes.values.shape[2:]):
            return self._partly_read(centres.cpu(), edges)
        starts = centres.cpu().numpy().astype(np.int64) - np.array(edges) // 2
        sampling = self.sampling or Sampling(np.eye(axes + 1), self.source.shape[1:])
        cubes = sampling.cubes(self.source, starts, edges, dtype)
        self.source.release()
        for step in self.intensity:
            if isinstance(step, LazyVolume):
                cubes = cubes.masked_fill(step.gather(centres, edges) <= 0, 0)
            else:
                cubes = step(cubes).as_subclass(Tensor)  # MONAI's transforms return a MetaTensor
        return cubes.to(dtype)

    def _partly_read(self, centres: Tensor, edges: tuple[int, ...]) -> Tensor:
        assert self.cubes is not None
        found, places = self.cubes.find(centres)
        result = self.cubes.values.new_empty(len(centres), *self.cubes.values.shape[1:])
        result[found] = self.cubes.values[places]
        if not found.all():
            result[~found] = replace(self, cubes=None).gather(centres[~found], edges)
        return result

    def prefetched(self, centres: Tensor, size: int | Sequence[int]) -> LazyVolume:
        """The same scan with some cubes read: asking for them later reads nothing.

        Args:
            centres: int64 ``[M, D]``, not negative, each once.
            size: as of :meth:`gather`.
        """
        return replace(self, cubes=Cubes(centres, replace(self, cubes=None).gather(centres, size)))

    def sampled(self, sampling: Sampling) -> LazyVolume:
        """The same scan seen on another grid.

        Args:
            sampling: maps to the grid on which this handle sees it; mappings are composed, and interpolated once.  Masks are
                seen by their nearest voxels.
        """
        stored = sampling if self.sampling is None else replace(sampling, matrix=self.sampling.matrix @ sampling.matrix)
        nearest = replace(sampling, mode="nearest")
        steps = tuple(step.sampled(nearest) if isinstance(step, LazyVolume) else step for step in self.intensity)
        affine = self.affine @ torch.from_numpy(sampling.matrix)
        return replace(self, sampling=stored, affine=affine, intensity=steps, cubes=None)

    def scaled(self, function: Callable[[Tensor], Tensor]) -> LazyVolume:
        """The same scan with one more function of its intensities."""
        return replace(self, intensity=(*self.intensity, function), cubes=None)

    def masked(self, mask: LazyVolume) -> LazyVolume:
        """The same scan, 0 where a mask is not positive.

        Args:
            mask: of one channel or as many as the scan, on the same grid.

        Raises:
            ValueError: if the grid or the channels do not fit.
        """
        if mask.shape[1:] != self.shape[1:] or mask.shape[0] not in (1, self.shape[0]):
            raise ValueError(f"{mask!r} cannot mask {self!r}: give both the same spatial transforms, and the mask one channel")
        distance = grid_distance(self, mask)
        if distance > GRID_TOLERANCE:
            raise ValueError(f"{mask!r} lies up to {distance:.3g} voxels beside {self!r}: give both the same spatial transforms")
        return replace(self, intensity=(*self.intensity, mask), cubes=None)

    ndim = 0  # MONAI's decollate_batch takes apart what is neither a number nor an array of no axes with its one item

    def item(self) -> LazyVolume:
        """The handle itself."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyVolume:
        return self  # immutable, and MONAI's data sets copy every cached item


def distinct_volumes(volumes: Sequence[LazyVolume]) -> tuple[list[LazyVolume], Tensor]:
    """Each object once, in the order of its first occurrence, and the place in that list of every volume, int64 ``[B]``."""
    distinct = {id(volume): volume for volume in volumes}
    place = {key: position for position, key in enumerate(distinct)}
    return list(distinct.values()), torch.tensor([place[id(volume)] for volume in volumes], dtype=torch.int64)


def grid_distance(a: LazyVolume, b: LazyVolume) -> float:
    """How far apart two volumes of one shape place a corner, at most, in voxels of the first."""
    corners = torch.cartesian_prod(*(torch.tensor([0.0, edge - 1.0], dtype=torch.float64) for edge in a.shape[1:]))
    corners = torch.cat([corners, torch.ones(len(corners), 1, dtype=torch.float64)], 1)
    lengths = a.affine[:-1, :-1].norm(dim=0).min()
    return float((corners @ (a.affine - b.affine).T).norm(dim=1).max() / lengths)


def list_collate(batch: Sequence[dict]) -> dict[str, list]:
    """A batch of dictionaries as a dictionary of lists, nothing stacked: for items of different lengths."""
    return {key: [item[key] for item in batch] for key in batch[0]}


default_collate_fn_map[LazyVolume] = lambda batch, *, collate_fn_map=None: list(batch)
