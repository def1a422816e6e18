"""Does a scan belong to those of the training?  Novelty detection by modality, geometry, intensities and features."""

from monai_cpic.novelty.description import ScanDescription, describe
from monai_cpic.novelty.distance import TypicalDistance
from monai_cpic.novelty.profile import CohortProfile, fit_profile

__all__ = ["CohortProfile", "ScanDescription", "TypicalDistance", "describe", "fit_profile"]
