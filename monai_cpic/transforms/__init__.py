"""MONAI transforms of volumes that stay on disk."""

from monai_cpic.transforms.channels import ScaleChannelsLazyd
from monai_cpic.transforms.freeze import FreezeLazyVolumed
from monai_cpic.transforms.intensity import ScaleIntensityRangeLazyd
from monai_cpic.transforms.keep_on_device import KeepOnDeviced
from monai_cpic.transforms.load import LoadLazyVolumed
from monai_cpic.transforms.mask import MaskIntensityLazyd
from monai_cpic.transforms.normalize import NormalizeIntensityLazyd, ScaleIntensityRangePercentilesLazyd
from monai_cpic.transforms.read_ahead import ReadAheadd

__all__ = [
    "FreezeLazyVolumed",
    "KeepOnDeviced",
    "LoadLazyVolumed",
    "MaskIntensityLazyd",
    "NormalizeIntensityLazyd",
    "ReadAheadd",
    "ScaleChannelsLazyd",
    "ScaleIntensityRangeLazyd",
    "ScaleIntensityRangePercentilesLazyd",
]
