"""The interface of baselines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = ["Baseline", "predictions_of_baselines"]


class Baseline(ABC):
    """A model that does not see the scans: it is fitted to the training patients and predicts other patients.

    Attributes:
        name: name of the model, unique in its cohort; its scores in metrics.json have a key derived from it.
    """

    name: str

    @abstractmethod
    def fit(self, training: Sequence[Mapping[str, Any]]) -> None:
        """Fit the model.

        Args:
            training: items of :meth:`~monai_cpic.cohorts.Cohort.read`.

        Raises:
            ValueError: when there is nothing to learn from.
        """

    @abstractmethod
    def predict(self, patients: Sequence[Mapping[str, Any]]) -> list[Tensor]:
        """Predict, for each patient ``[V, Q]`` in the units of the table.

        Args:
            patients: items as for :meth:`fit`, but without the entries that contain the targets.
        """


def predictions_of_baselines(
    baselines: Sequence[Baseline],
    training: Sequence[Mapping[str, Any]],
    patients: Sequence[Mapping[str, Any]],
    targets: Sequence[str],
) -> dict[str, list[Tensor]]:
    """Fit baselines and predict, without showing them the targets of the patients that they predict.

    Args:
        baselines: the models.
        training: the patients to learn from.
        patients: the patients to predict.
        targets: the entries of an item that contain the targets.

    Returns:
        The predictions of each baseline, by its name.

    Raises:
        ValueError: if two baselines have the same name.
    """
    names = [baseline.name for baseline in baselines]
    if len(set(names)) < len(names):
        raise ValueError(f"the names of baselines must be unique, got {', '.join(names)}.")
    inputs = [{key: value for key, value in item.items() if key not in targets} for item in patients]
    predictions = {}
    for baseline in baselines:
        baseline.fit(training)
        predictions[baseline.name] = baseline.predict(inputs)
    return predictions
