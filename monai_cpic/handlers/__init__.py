"""Handlers of MONAI's engines, preparation of batches, checkpoints, a look at new scans, and the folder of a run's files."""

from monai_cpic.handlers.checkpoints import TrainingSaver, checkpoints, remove_checkpoints, resume_training
from monai_cpic.handlers.choose_epoch import ChooseEpoch
from monai_cpic.handlers.history import History
from monai_cpic.handlers.output_folder import OutputFolder
from monai_cpic.handlers.prepare_batch import PrepareRows
from monai_cpic.handlers.random_state import RandomState
from monai_cpic.handlers.refresh import RefreshHandler
from monai_cpic.handlers.schedule_curriculum import ScheduleCurriculum
from monai_cpic.handlers.screen_scans import ScreenScans
from monai_cpic.handlers.seed_transforms import SeedTransforms
from monai_cpic.handlers.show_progress import ShowProgress
from monai_cpic.handlers.trackers import mlflow_handler, tensorboard_handler

__all__ = [
    "ChooseEpoch",
    "History",
    "OutputFolder",
    "PrepareRows",
    "RandomState",
    "RefreshHandler",
    "ScheduleCurriculum",
    "ScreenScans",
    "SeedTransforms",
    "ShowProgress",
    "TrainingSaver",
    "checkpoints",
    "mlflow_handler",
    "remove_checkpoints",
    "resume_training",
    "tensorboard_handler",
]
