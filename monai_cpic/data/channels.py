"""Several volumes as channels of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_cpic.data.sources.base import Source
from monai_cpic.data.volume import GRID_TOLERANCE, LazyVolume, grid_distance

__all__ = ["ChannelSource", "join_channels"]


@dataclass(frozen=True)
class ChannelSource(Source):
    """The channels of several sources of one spatial shape, one after the other, as true values.

    Args:
        sources: at least one.
    """

    sources: tuple[Source, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(source.shape[0] for source in self.sources), *self.sources[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that holds the true values of all sources."""
        return np.result_type(*(source.scaled(np.empty(0, source.dtype)) for source in self.sources))

    def points(self, indices: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([source.scaled(source.points(indices)) for source in self.sources])

    def blocks(self, corners: NDArray[Any], edges: Sequence[int]) -> NDArray[Any]:
        return np.concatenate([source.scaled(source.blocks(corners, edges)) for source in self.sources])

    def level(self, factors: tuple[int, ...], through: Source | None = None) -> Source:
        """The levels of the sources, joined."""
        if through is not None:
            return super().level(factors, through)
        return ChannelSource(tuple(source.level(factors) for source in self.sources))

    def files(self) -> Sequence[Path]:
        return [file for source in self.sources for file in source.files()]

    def release(self) -> None:
        for source in self.sources:
            source.release()


def join_channels(volumes: Sequence[LazyVolume]) -> LazyVolume:
    """Join volumes of one geometry to one volume, channel after channel, in the order given.

    Args:
        volumes: as they were opened, neither resampled nor scaled.

    Raises:
        ValueError: if there is no volume, one has been resampled or scaled, or shapes or affines differ.
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
                f"{names}: their affines place the same voxel up to {apart:.3g} voxels apart, {first.affine.tolist()} and "
                f"{volume.affine.tolist()}; resample one to the other"
            )
    keys = [volume.key for volume in volumes if volume.key is not None]
    source = ChannelSource(tuple(volume.source for volume in volumes))
    return replace(first, read=None, source=source, key="; ".join(keys) if len(keys) == len(volumes) else None)
