"""Several volumes as the channels of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monai_cpic.data.source import Source
from monai_cpic.data.volume import GRID_TOLERANCE, LazyVolume, grid_distance

__all__ = ["ChannelSource", "join_channels"]


@dataclass(frozen=True)
class ChannelSource(Source):
    """The channels of several sources of one spatial shape, in their order, as true values.

    Args:
        sources: at least one.
    """

    sources: tuple[Source, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """All channels, and the spatial shape."""
        return (sum(source.shape[0] for source in self.sources), *self.sources[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """That of true values which holds all of them."""
        return np.result_type(*(source.scaled(np.empty(0, source.dtype)) for source in self.sources))

    def points(self, indices: Sequence[NDArray]) -> NDArray:
        """Single voxels."""
        return np.concatenate([source.scaled(source.points(indices)) for source in self.sources])

    def blocks(self, corners: NDArray, edges: Sequence[int]) -> NDArray:
        """Blocks of one size."""
        return np.concatenate([source.scaled(source.blocks(corners, edges)) for source in self.sources])

    def release(self) -> None:
        """Release each."""
        for source in self.sources:
            source.release()


def join_channels(volumes: Sequence[LazyVolume]) -> LazyVolume:
    """Volumes of one geometry as one volume, channel after channel in the order given.

    Args:
        volumes: as opened, not resampled or scaled.

    Raises:
        ValueError: if there is none, one has been resampled or scaled, or shapes or affines differ.
    """
    if not volumes:
        raise ValueError("a volume has at least one channel, got an empty list")
    first = volumes[0]
    for volume in volumes:
        if volume.sampling is not None or volume.intensity:
            raise ValueError(f"{volume!r} has been resampled or scaled: join the channels first")
        names = f"{first.key or 'the first array'} and {volume.key or 'another array'} cannot be channels of one volume"
        if volume.shape[1:] != first.shape[1:]:
            raise ValueError(f"{names}: shapes {first.shape[1:]} and {volume.shape[1:]}; resample one to the other")
        apart = grid_distance(first, volume)
        if apart > GRID_TOLERANCE:
            raise ValueError(
                f"{names}: their affines place voxels up to {apart:.3g} voxels apart, {first.affine.tolist()} and "
                f"{volume.affine.tolist()}; resample one to the other"
            )
    keys = [volume.key for volume in volumes if volume.key is not None]
    source = ChannelSource(tuple(volume.source for volume in volumes))
    return replace(first, source=source, key="; ".join(keys) if len(keys) == len(volumes) else None)
