"""Baselines of a table: a constant, and regressions on descriptions of the patients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_cpic.cohorts.baselines import Baseline
from monai_cpic.cohorts.table.descriptions import Describe

__all__ = ["Constant", "Regression"]

Array = NDArray[np.float64]
Items = Sequence[Mapping[str, Any]]


class Constant(Baseline):
    """The same prediction for everybody.

    Args:
        name: name of the model.
        prediction: ``[Q]``, from the true values ``[R, M]`` of the training patients.
    """

    def __init__(self, name: str, prediction: Callable[[Array], Array]) -> None:
        self.name = name
        self.prediction = prediction

    def fit(self, training: Items) -> None:
        self.found = torch.from_numpy(self.prediction(_true_values(training)))

    def predict(self, patients: Items) -> list[Tensor]:
        return [self.found.expand(count, -1) for count in _rows(patients)]


class Regression(Baseline):
    """A model of the features of each row.

    Args:
        describe: the features of a patient.

    Attributes:
        kind: of the model, for its name.
    """

    kind: ClassVar[str]

    def __init__(self, describe: Describe) -> None:
        self.name = f"{self.kind} on {describe.name}"
        self.describe = describe

    @abstractmethod
    def fit_rows(self, features: Array, values: Array, patients: NDArray[np.int64]) -> None:
        """Fit the model.

        Args:
            features: ``[R, P]``.
            values: true values ``[R, M]``.
            patients: number of the patient of each row, ``[R]``.
        """

    @abstractmethod
    def predict_rows(self, features: Array) -> Array:
        """Predictions ``[R, Q]`` of features ``[R, P]``."""

    def fit(self, training: Items) -> None:
        patients = np.unique([item["patient"] for item in training], return_inverse=True)[1]
        self.fit_rows(self.describe(training), _true_values(training), np.repeat(patients, _rows(training)))

    def predict(self, patients: Items) -> list[Tensor]:
        return list(torch.from_numpy(self.predict_rows(self.describe(patients))).split(_rows(patients)))


def _true_values(items: Items) -> Array:
    return np.concatenate([item["values"].numpy() for item in items])


def _rows(items: Items) -> list[int]:
    """The number of rows of each item."""
    return [len(item["covariates"]) for item in items]
