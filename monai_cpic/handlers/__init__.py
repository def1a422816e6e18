"""Handlers of MONAI's engines, preparation of batches, and resuming."""

from monai_cpic.handlers.checkpoints import latest_checkpoint, resume_training
from monai_cpic.handlers.history import History
from monai_cpic.handlers.prepare_batch import PrepareRows
from monai_cpic.handlers.random_state import RandomState
from monai_cpic.handlers.refresh import RefreshHandler
from monai_cpic.handlers.seed_transforms import SeedTransforms

__all__ = ["History", "PrepareRows", "RandomState", "RefreshHandler", "SeedTransforms", "latest_checkpoint", "resume_training"]
