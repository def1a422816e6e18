"""Head and readouts: from features, or whole tensor trains, and covariates to predictions."""

from monai_cpic.networks.readouts.base import Readout
from monai_cpic.networks.readouts.coarse import CoarseReadout
from monai_cpic.networks.readouts.family import FamilyReadout
from monai_cpic.networks.readouts.head import TwoBranchHead
from monai_cpic.networks.readouts.ridge import RidgeReadout
from monai_cpic.networks.readouts.score import ScoreReadout
from monai_cpic.networks.readouts.stacked import StackedReadout
from monai_cpic.networks.readouts.time_course import TimeCourseReadout

__all__ = [
    "CoarseReadout",
    "FamilyReadout",
    "Readout",
    "RidgeReadout",
    "ScoreReadout",
    "StackedReadout",
    "TimeCourseReadout",
    "TwoBranchHead",
]
