"""Volumes on disk: handles, of which only sampled cubes are read."""

from monai_cpic.data.readers import open_function, open_volume
from monai_cpic.data.sampling import Sampling
from monai_cpic.data.source import ArraySource, MappedSource, Source
from monai_cpic.data.volume import LazyVolume, distinct_volumes, list_collate

__all__ = [
    "ArraySource",
    "LazyVolume",
    "MappedSource",
    "Sampling",
    "Source",
    "distinct_volumes",
    "list_collate",
    "open_function",
    "open_volume",
]
