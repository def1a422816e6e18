"""Volumes on disk: handles, of which only the patches that are asked for are read."""

from monai_cpic.data.batch import VolumeBatch, list_collate
from monai_cpic.data.gather.sampling import Sampling
from monai_cpic.data.readers import open_function, open_volume
from monai_cpic.data.sources import ArraySource, MappedSource, Source
from monai_cpic.data.volume import LazyVolume, Volume, distinct_volumes

__all__ = [
    "ArraySource",
    "LazyVolume",
    "MappedSource",
    "Sampling",
    "Source",
    "Volume",
    "VolumeBatch",
    "distinct_volumes",
    "list_collate",
    "open_function",
    "open_volume",
]
