"""MONAI and ignite adapters."""

from monai_cpic.handlers.basis_refresher import BasisRefresher
from monai_cpic.handlers.checkpoints import latest_checkpoint, resume_training
from monai_cpic.handlers.history import History
from monai_cpic.handlers.prepare_batch import PrepareRows
from monai_cpic.handlers.random_state import RandomState
from monai_cpic.handlers.seed_transforms import SeedTransforms

__all__ = ["BasisRefresher", "History", "PrepareRows", "RandomState", "SeedTransforms", "latest_checkpoint", "resume_training"]
