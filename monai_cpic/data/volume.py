"""Volumes: handles that describe where voxels are and what happens to them when they are read, but hold none."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from monai_cpic.data.affine import check_affine
from monai_cpic.data.gather.read_patches import ReadPatches
from monai_cpic.data.gather.sampling import Sampling
from monai_cpic.data.pyramid.geometry import block_centres, checked_steps, factors_below, factors_of_step, level_shape
from monai_cpic.data.sources.base import Source
from monai_cpic.devices import each_axis, move

__all__ = ["GRID_TOLERANCE", "LazyVolume", "Volume", "distinct_volumes", "grid_distance"]

GRID_TOLERANCE = 0.01  # voxels: how far apart the same corner of two volumes of one grid may lie


class Volume(Protocol):
    """What a network needs of a volume: :class:`LazyVolume` has it, and so may a class of your own."""

    @property
    def key(self) -> str | None:
        """What identifies the scan from one epoch to the next, such as its path; None if nothing does."""

    @property
    def identity(self) -> bytes | None:
        """What identifies the values that :meth:`gather` reads, of this scan on this grid with these intensities; None if nothing
        does."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)``, with 2 or 3 spatial axes."""

    def gather(
        self, centres: Tensor, size: int | Sequence[int], *, steps: Sequence[int] = (1,), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Read patches around voxels, near and far.

        Args:
            centres: int64 ``[N, D]``, on any device, inside the volume or not; outside, the border is repeated.
            size: edge lengths; the first voxel of a patch is ``centre - size // 2``.
            steps: for each, a patch around the same centre whose voxels lie ``step`` voxels apart and are means over the voxels
                between (see :meth:`LazyVolume.gather`).
            dtype: float32 or float64.

        Returns:
            ``[N, L·C, *size]``, on the device of the volume: all channels of the first of ``L`` steps, then of the second, …
        """

    def in_blocks(self, factors: tuple[int, ...]) -> Volume:
        """The same scan averaged over blocks of so many voxels along each axis (see :meth:`LazyVolume.in_blocks`).

        Args:
            factors: powers of two, one for each axis.
        """


V = TypeVar("V", bound=Volume)


@dataclass(frozen=True, eq=False)
class LazyVolume:
    """A scan of any size, of which only the patches that are asked for are read.

    Handles are small, immutable and picklable (a file as its path); a DataLoader collates them to a list
    (:class:`~monai_cpic.data.VolumeBatch`).

    Args:
        source: the stored voxels.
        affine: float64 ``[D + 1, D + 1]``, from voxel indices to RAS millimetres.
        key: identifies the scan: its path, or None for one that exists in memory only.
        sampling: the grid on which the volume is seen; None for the stored one.
        intensity: the steps that are applied to patches ``[N, C, *size]``, in order.  Each is a picklable function of single
            voxels, such as MONAI's ``ScaleIntensityRange``, or a mask: a volume on the same grid; where it is not positive,
            patches are 0.
        read: patches that have been read in advance.
        modality: as DICOM names it, such as ``"CT"`` or ``"MR"``; None if the files do not say.

    Raises:
        ValueError: if the affine is not finite or singular: it places no voxel, and resampling by it would give NaN.
    """

    source: Source
    affine: Tensor
    key: str | None = None
    sampling: Sampling | None = None
    intensity: tuple[Callable[[Tensor], Any] | LazyVolume, ...] = ()
    read: ReadPatches | None = None
    modality: str | None = None

    def __post_init__(self) -> None:
        check_affine(self.affine.numpy(), self.key or "the volume")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *spatial)`` of the grid on which the volume is seen."""
        return self.source.shape if self.sampling is None else (self.source.shape[0], *self.sampling.shape)

    @property
    def identity(self) -> bytes | None:
        """What identifies the values that :meth:`gather` reads: equal for two handles only if their values are.

        It is made of the key, the files as they were when they were opened (of an OME-Zarr store, which may have very many, the
        metadata alone), the grid, and the functions and masks of intensities.
        A scan that a random transform has flipped or moved therefore has another.  None if the scan or a mask has no key, or a
        function of intensities cannot be pickled.
        """
        if self.key is None:
            return None
        if self not in _identities:
            steps = [step.identity if isinstance(step, LazyVolume) else _pickled(step) for step in self.intensity]
            grid = None if self.sampling is None else self.sampling.identity
            parts = self.key, repr(self.source), self.affine.numpy().tobytes(), grid, steps
            _identities[self] = None if None in steps else hashlib.sha256(repr(parts).encode()).digest()
        return _identities[self]

    def __repr__(self) -> str:
        return f"LazyVolume(shape={self.shape}, key={self.key!r})"

    def gather(
        self, centres: Tensor, size: int | Sequence[int], *, steps: Sequence[int] = (1,), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Read patches around voxels, near and far.

        A patch at a step is a patch of :meth:`coarser`, the volume averaged over blocks of voxels: its central voxel is the block
        that holds the centre, and its other voxels are the blocks around this one.  Outside the volume the outermost blocks are
        repeated, also where a patch is larger than the whole volume at that step.  If the blocks divide the volume and the edges
        of the patch are odd, the patches of a flipped volume are the flipped patches.

        Args:
            centres: int64 ``[N, D]``, on any device, inside the volume or not; outside, the border is repeated.
            size: edge lengths; the first voxel of a patch is ``centre - size // 2``.
            steps: distances between the voxels of a patch, powers of two in increasing order, in units of the smallest spacing;
                along an axis of larger spacing fewer voxels are averaged (see :meth:`coarser`).
            dtype: float32 or float64 (means, and MONAI's functions of intensities, are float32 all the same).

        Returns:
            ``[N, L·C, *size]``: all channels of the first of ``L`` steps, then of the second, …

        Raises:
            ValueError: if the centres or the size do not have ``D`` axes, or the steps are not increasing powers of two.
            FileNotFoundError: if the file has been removed.
            OSError: if the cache is too small for the means.

        Example:
            >>> from monai_cpic.data import open_volume
            >>> volume = open_volume(torch.arange(16.0).expand(1, 16, 16))
            >>> volume.gather(torch.tensor([[8, 8]]), (1, 3), steps=(1, 4))
            tensor([[[[ 7.0000,  8.0000,  9.0000]],
            <BLANKLINE>
                     [[ 5.5000,  9.5000, 13.5000]]]])
        """
        axes = len(self.shape) - 1
        edges = (size,) * axes if isinstance(size, int) else tuple(size)
        if centres.ndim != 2 or centres.shape[1] != axes or len(edges) != axes or min(edges) < 1:
            raise ValueError(
                f"{self!r} needs centres [N, {axes}] and {axes} positive edges, got {tuple(centres.shape)} and {edges}"
            )
        steps = tuple(steps)
        if self.read is not None and self.read.are(edges, steps, dtype):
            return self._completed(self.read, centres.cpu(), edges)
        device = self.source.device
        where = centres.cpu() if device.type == "cpu" else move(centres, device)
        levels = [
            (self.in_blocks(factors), where if max(factors) == 1 else where // each_axis(factors, where))
            for factors in self._factors(steps)
        ]
        patches = torch.cat([level._stored_patches(blocks, edges, dtype) for level, blocks in levels])
        for steps_of_levels in zip(*(level.intensity for level, _ in levels), strict=True):
            step = steps_of_levels[0]
            if isinstance(step, LazyVolume):  # each level has its own mask
                parts = zip(steps_of_levels, levels, strict=True)
                masks = [mask.gather(blocks, edges) for mask, (_, blocks) in parts]
                patches = patches.masked_fill(move(torch.cat(masks) <= 0, patches), 0)
            else:
                with torch._C.DisableTorchFunctionSubclass():  # MONAI's transforms make a MetaTensor, which is slow
                    patches = step(patches).as_subclass(Tensor)
        return patches.to(dtype).unflatten(0, (len(levels), len(where))).transpose(0, 1).flatten(1, 2)

    def _stored_patches(self, centres: Tensor, edges: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Patches ``[N, C, *size]`` before the steps of intensities."""
        sampling = self.sampling or Sampling.stored(self.source.shape[1:])
        half = each_axis([edge // 2 for edge in edges], centres)
        patches = self.source.patches(sampling, centres - half, edges, dtype)
        self.source.release()
        return patches

    def _completed(self, read: ReadPatches, centres: Tensor, edges: tuple[int, ...]) -> Tensor:
        """Take patches that have been read and read the others."""
        found, positions = read.find(centres)
        result = read.values.new_empty(len(centres), *read.values.shape[1:])
        result[found] = read.values[positions]
        if not found.all():
            result[~found] = replace(self, read=None).gather(centres[~found], edges, steps=read.steps)
        return result

    def coarser(self, step: int) -> LazyVolume:
        """The same scan with voxels that are ``step`` times as far apart and means over the voxels between.

        A step is a length.  Along an axis whose spacing is larger than the smallest one, the voxels of a block are the power of
        two that makes the block as nearly as possible ``step`` times the smallest spacing long: at 0.7 × 0.7 × 5 mm, step 4 has
        blocks of 4 × 4 × 1 voxels and step 16 of 16 × 16 × 2.  Blocks lie side by side from the first voxel on; those at the end
        average the voxels that there are.  The spacing and the blocks are those of the grid on which the handle sees the scan.

        True values are averaged; then the functions of intensities are applied to the means (a window clips means), and masks,
        of which the mean must be positive: a mask of zeros and ones keeps a block if it keeps any voxel of the block.

        On a grid other than the stored one, the means of the stored volume are interpolated, from the coarsest blocks that are no
        longer along any axis than those of the grid.  Flips and permutations of axes are exact if the blocks divide the volume,
        and so are shifts by whole blocks within it: the result is that of resampling the volume and averaging it then.  Else the
        two differ by what is curved within a block: where details are about 12 voxels wide, by up to 0.1 % of the image's range
        at step 2 and 0.4 % at step 4.  In the outermost blocks of a volume that the blocks do not divide they differ by some per
        cent of the range, because the last block is cut off at another end.  Such a grid has to be padded by its border.

        Means are made when they are first needed: of files in the cache folder, of arrays in memory, of tensors on their device.
        OME-Zarr images that come with the level in question are read there.  Functions, and volumes of more than
        :data:`~monai_cpic.data.pyramid.levels.AVERAGED` voxels, are not averaged but read at the centre of each block.

        Args:
            step: a power of two.

        Raises:
            ValueError: if it is none, or the grid is padded by zeros, of which means at its border would have to know a share.
            OSError: if the cache is too small for the means.
        """
        return self.in_blocks(*self._factors((step,)))

    def _factors(self, steps: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """The edges of the blocks of each step."""
        known = _factors.setdefault(self, {})
        if steps not in known:
            spacing = np.linalg.norm(self.affine.numpy()[:-1, :-1], axis=0)
            known[steps] = tuple(factors_of_step(step, spacing) for step in checked_steps(steps))
        return known[steps]

    def in_blocks(self, factors: tuple[int, ...]) -> LazyVolume:
        """The same scan averaged over blocks of so many voxels along each axis, as by :meth:`coarser`, whatever their lengths.

        Args:
            factors: powers of two, one for each axis.

        Raises:
            ValueError: if the grid is padded by zeros, of which means at its border would have to know a share.
            OSError: if the cache is too small for the means.

        Example:
            >>> from monai_cpic.data import open_volume
            >>> open_volume(torch.zeros(1, 64, 64, 9)).in_blocks((8, 8, 2)).shape
            (1, 8, 8, 5)
        """
        if max(factors) == 1:
            return self
        known = _coarser.setdefault(self, {})
        if factors not in known:
            steps = (step.in_blocks(factors) if isinstance(step, LazyVolume) else step for step in self.intensity)
            blocks, sampling, below = block_centres(factors), self.sampling, factors
            if sampling is not None:
                if sampling.padding_mode != "border":
                    raise ValueError(
                        f"{self!r} is padded by {sampling.padding_mode}, which patches of steps above 1 cannot be: use "
                        'FreezeLazyVolumed(..., padding_mode="border")'
                    )
                below = factors_below(sampling.matrix @ blocks)
                matrix = np.linalg.inv(block_centres(below)) @ sampling.matrix @ blocks
                sampling = replace(sampling, matrix=matrix, shape=level_shape(sampling.shape, factors))
            source = self.source if max(below) == 1 else self.source.level(below)
            affine = self.affine @ torch.from_numpy(blocks)
            known[factors] = LazyVolume(source, affine, self.key, sampling, tuple(steps), modality=self.modality)
        return known[factors]

    def to(self, device: torch.device | str) -> LazyVolume:
        """The same scan with all its voxels, and those of its masks, in the memory of a device.

        They keep their stored dtype, and :meth:`gather` reads, interpolates and scales them there; cubic splines alone are
        computed on the host.  Means over blocks follow when they are first needed.

        Args:
            device: such as ``"cuda"``; ``"cpu"`` reads the scan into memory.

        Raises:
            RuntimeError: if the device has not enough memory (``torch.OutOfMemoryError``).

        Example:
            >>> from monai_cpic.data import open_volume
            >>> volume = open_volume(np.zeros((1, 8, 8, 8), np.int16)).to("cpu")
            >>> volume.source.values.dtype
            torch.int16
        """
        steps = tuple(step.to(device) if isinstance(step, LazyVolume) else step for step in self.intensity)
        return replace(self, source=self.source.to(device), intensity=steps, read=None)

    def prefetched(self, centres: Tensor, size: int | Sequence[int], *, steps: Sequence[int] = (1,)) -> LazyVolume:
        """The same scan with some patches in memory, which :meth:`gather` need not read any more.

        Args:
            centres: int64 ``[M, D]``, not negative, distinct.
            size: as for :meth:`gather`.
            steps: as for :meth:`gather`.
        """
        patches = replace(self, read=None).gather(centres, size, steps=steps)
        return replace(self, read=ReadPatches(centres, patches, tuple(steps)))

    def sampled(self, sampling: Sampling) -> LazyVolume:
        """The same scan seen on another grid.

        Args:
            sampling: from the new grid to the one on which this handle sees the scan.  Mappings are composed, so voxels are
                interpolated only once.  Masks are interpolated by their nearest voxel.
        """
        stored = sampling if self.sampling is None else replace(sampling, matrix=self.sampling.matrix @ sampling.matrix)
        nearest = replace(sampling, mode="nearest")
        steps = tuple(step.sampled(nearest) if isinstance(step, LazyVolume) else step for step in self.intensity)
        affine = self.affine @ torch.from_numpy(sampling.matrix)
        return replace(self, sampling=stored, affine=affine, intensity=steps, read=None)

    def scaled(self, function: Callable[[Tensor], Any]) -> LazyVolume:
        """The same scan with one more function applied to its intensities.

        Args:
            function: from patches ``[N, C, *size]`` to a tensor of that shape, voxel by voxel, picklable.
        """
        return replace(self, intensity=(*self.intensity, function), read=None)

    def masked(self, mask: LazyVolume) -> LazyVolume:
        """The same scan, set to 0 where a mask is not positive.

        Args:
            mask: on the same grid, of one channel or of as many as the scan.

        Raises:
            ValueError: if the grid or the channels do not fit.
        """
        if mask.shape[1:] != self.shape[1:] or mask.shape[0] not in (1, self.shape[0]):
            raise ValueError(f"{mask!r} cannot mask {self!r}: give both the same spatial transforms, and the mask one channel")
        distance = grid_distance(self, mask)
        if distance > GRID_TOLERANCE:
            raise ValueError(f"{mask!r} lies up to {distance:.3g} voxels beside {self!r}: give both the same spatial transforms")
        return replace(self, intensity=(*self.intensity, mask), read=None)

    ndim = 0  # MONAI's decollate_batch iterates over anything that does not look like an array without axes

    def item(self) -> LazyVolume:
        """The handle itself, as the single item of an array without axes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyVolume:
        return self  # it is immutable, and MONAI's data sets copy every cached item


# For each handle the same scan in blocks of some edges, the edges for some steps, and its identity; kept apart, so that handles
# are pickled without them.
_coarser: WeakKeyDictionary[LazyVolume, dict[tuple[int, ...], LazyVolume]] = WeakKeyDictionary()
_factors: WeakKeyDictionary[LazyVolume, dict[tuple[int, ...], tuple[tuple[int, ...], ...]]] = WeakKeyDictionary()
_identities: WeakKeyDictionary[LazyVolume, bytes | None] = WeakKeyDictionary()


def _pickled(function: Any) -> bytes | None:
    """A function of intensities as bytes, equal for equal ones; None if it cannot be pickled."""
    try:
        return pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def distinct_volumes(volumes: Sequence[V]) -> tuple[list[V], Tensor]:
    """Remove repetitions of the same object.

    Returns:
        the distinct volumes in the order of their first occurrence, and for each given volume its position among them, int64
        ``[B]``.
    """
    distinct = {id(volume): volume for volume in volumes}
    position = {key: number for number, key in enumerate(distinct)}
    return list(distinct.values()), torch.tensor([position[id(volume)] for volume in volumes], dtype=torch.int64, device="cpu")


def grid_distance(a: LazyVolume, b: LazyVolume) -> float:
    """The largest distance between corresponding corners of two volumes of one shape, in voxels of the first."""
    corners = torch.cartesian_prod(*(a.affine.new_tensor([0.0, edge - 1.0]) for edge in a.shape[1:]))
    corners = torch.cat([corners, corners.new_ones(len(corners), 1)], 1)
    lengths = a.affine[:-1, :-1].norm(dim=0).min()
    return float((corners @ (a.affine - b.affine).T).norm(dim=1).max() / lengths)
