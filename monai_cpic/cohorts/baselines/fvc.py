"""Baselines of lung function: predictions of FVC from the baseline visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from torch import Tensor

from monai_cpic.cohorts.baselines.base import Baseline
from monai_cpic.cohorts.baselines.fvc_spread import FVCSpread
from monai_cpic.cohorts.baselines.ridge import patient_wise_ridge, predictions_for_left_out
from monai_cpic.cohorts.osic.items import QUANTILES, RATE_UNIT

__all__ = ["BaselineAndMeanSlope", "ConstantFVC", "FVCRidge"]

Array = NDArray[np.float64]
Items = Sequence[Mapping[str, Any]]


class ConstantFVC(Baseline):
    """The quantiles of all measurements of the training patients, for every patient and week."""

    name = "constant"

    def fit(self, training: Items) -> None:
        fvc = torch.cat([item["fvc"] for item in training])
        self.quantiles = torch.nanquantile(fvc, torch.tensor(QUANTILES, dtype=fvc.dtype))

    def predict(self, patients: Items) -> list[Tensor]:
        return [self.quantiles.expand(len(item["weeks"]), -1) for item in patients]


class BaselineAndMeanSlope(Baseline):
    """The FVC at the baseline, and from there on the mean slope of the training patients.

    A patient's slope is that of the least-squares line through all visits.  The spread of the quantiles is that of the errors of
    each training patient with the mean slope of the others (:class:`~monai_cpic.cohorts.baselines.fvc_spread.FVCSpread`).
    """

    name = "baseline and mean slope"

    def fit(self, training: Items) -> None:
        slopes = RATE_UNIT * np.array([item["label"][0, 1].item() for item in training])
        known = np.isfinite(slopes)
        if not known.any():
            raise ValueError(f"none of {len(training)} training patients has two visits: there is no slope to learn from.")
        self.slope = slopes[known].mean()
        others = self.slope if known.sum() < 2 else (slopes[known].sum() - slopes) / (known.sum() - 1)
        expected = np.where(known, others, self.slope)
        covariates, change, patients = _measured_changes(training)
        years = covariates[:, 0]
        self.spread = FVCSpread.fit(years, change - expected[patients] * years)

    def predict(self, patients: Items) -> list[Tensor]:
        years = [_covariates(item)[:, 0] for item in patients]
        return [self.spread.quantiles(item["baseline_fvc"] + self.slope * t, t) for item, t in zip(patients, years, strict=True)]


class FVCRidge(Baseline):
    """Ridge regression of the change since the baseline on the time and the products of the time and the other covariates.

    A patient's change is thus about proportional to the time, with a slope that depends on the covariates.  The penalty minimises
    the absolute error for patients who were left out, and the spread of the quantiles is that of their errors
    (:class:`~monai_cpic.cohorts.baselines.fvc_spread.FVCSpread`).
    """

    name = "ridge"

    def fit(self, training: Items) -> None:
        covariates, change, patients = _measured_changes(training)
        features = _covariates_by_time(covariates)
        self.ridge: Pipeline = patient_wise_ridge(features, change, patients, "neg_mean_absolute_error")
        errors = change - predictions_for_left_out(self.ridge, features, change, patients)
        self.spread = FVCSpread.fit(covariates[:, 0], errors)

    def predict(self, patients: Items) -> list[Tensor]:
        predictions = []
        for item in patients:
            covariates = _covariates(item)
            change = self.ridge.predict(_covariates_by_time(covariates))
            predictions.append(self.spread.quantiles(item["baseline_fvc"] + change, covariates[:, 0]))
        return predictions


def _covariates(item: Mapping[str, Any]) -> Array:
    """The covariates of a patient; the first column is the time since the baseline in years of 52 weeks."""
    return np.asarray(item["covariates"].double().numpy())


def _covariates_by_time(covariates: Array) -> Array:
    """The time, and its products with the other covariates ``[V, P]``."""
    return np.concatenate([covariates[:, :1], covariates[:, :1] * covariates[:, 1:]], 1)


def _measured_changes(training: Items) -> tuple[Array, Array, NDArray[np.int64]]:
    """Covariates, change of FVC since the baseline (ml) and number of the patient, of all measured visits."""
    covariates = np.concatenate([_covariates(item) for item in training])
    change = np.concatenate([item["fvc"].double().numpy() - item["baseline_fvc"] for item in training])
    patients = np.repeat(np.arange(len(training)), [len(item["weeks"]) for item in training])
    known = np.isfinite(change)
    if not known.any():
        raise ValueError(f"none of {len(training)} training patients was measured after the baseline: there is nothing to learn.")
    return covariates[known], change[known], patients[known]
