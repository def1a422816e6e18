"""Files of trained networks: weights, and the record of the training that a prediction depends on."""

from monai_cpic.model_files.configuration import check_given, described
from monai_cpic.model_files.mean_model import mean_model
from monai_cpic.model_files.model_file import ModelFile, read_model, write_model
from monai_cpic.model_files.record import TrainingRecord, check_patients, hashed

__all__ = [
    "ModelFile",
    "TrainingRecord",
    "check_given",
    "check_patients",
    "described",
    "hashed",
    "mean_model",
    "read_model",
    "write_model",
]
