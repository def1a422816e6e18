"""MONAI's handlers that send losses and metrics to TensorBoard and MLflow."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from monai.handlers import MLFlowHandler, TensorBoardStatsHandler

from monai_cpic.extras import extra

__all__ = ["mlflow_handler", "tensorboard_handler"]


def tensorboard_handler(folder: str | Path) -> TensorBoardStatsHandler:
    """A handler that writes the loss of each step, if the engine trains, and the metrics of each epoch for TensorBoard.

    Args:
        folder: of its files; of each engine another one, so that TensorBoard shows their curves together.

    Raises:
        ImportError: if TensorBoard is not installed; the message names the extra.
    """
    with extra("tensorboard"):
        import_module("tensorboard")
    return TensorBoardStatsHandler(log_dir=str(folder), output_transform=_loss, tag_name="loss")


def mlflow_handler(address: str, experiment: str, run: str, ends: bool) -> MLFlowHandler:
    """A handler that sends the loss of each step, if the engine trains, and the metrics of each epoch to MLflow.

    Args:
        address: of the server, such as ``http://localhost:5000``, or of a database, such as ``sqlite:////data/mlruns.db``.
        experiment: name of the experiment.
        run: name of the run.  Handlers of the same name add to one run until it has ended, also when a training is resumed.
        ends: whether the run ends with that of the engine.

    Raises:
        ImportError: if MLflow is not installed; the message names the extra.
        ValueError: if the address is a folder, see :class:`monai.handlers.MLFlowHandler`.
    """
    with extra("mlflow"):
        import_module("mlflow")
    return MLFlowHandler(
        address, experiment_name=experiment, run_name=run, output_transform=_loss, tag_name="loss", close_on_complete=ends
    )


def _loss(output: Any) -> float | None:
    """The loss of a training step; None of an evaluation."""
    return output["loss"].item() if "loss" in output else None
