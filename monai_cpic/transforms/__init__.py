"""MONAI transforms of volumes that stay on disk."""

from monai_cpic.transforms.freeze import FreezeLazyVolumed
from monai_cpic.transforms.intensity import ScaleIntensityRangeLazyd
from monai_cpic.transforms.load import LoadLazyVolumed

__all__ = ["FreezeLazyVolumed", "LoadLazyVolumed", "ScaleIntensityRangeLazyd"]
