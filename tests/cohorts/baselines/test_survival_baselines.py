"""Baselines of survival: Cox regression against its equations, the others against scikit-learn and values by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime

from monai_cpic.cohorts import BraTSCohort
from monai_cpic.cohorts.baselines import predictions_of_baselines
from monai_cpic.cohorts.baselines.cox import CoxRegression
from monai_cpic.cohorts.baselines.ridge import patient_wise_ridge
from monai_cpic.cohorts.baselines.survival import CoxSurvival, age_and_resection, age_resection_and_tumour
from monai_cpic.cohorts.baselines.tumour import tumour_volume


def patients(number: int, alive: int = 0, effect: float = 0.0) -> list[dict[str, Any]]:
    """The second covariate has the given effect on the logarithm of the survival."""
    rng = np.random.default_rng(0)
    items = []
    for k in range(number):
        covariates = rng.normal(size=(1, 3))
        items.append(
            {
                "patient": f"P{k}",
                "survival_days": float(np.ceil(rng.exponential(400 * np.exp(effect * covariates[0, 1])))),
                "died": k >= alive,
                "covariates": torch.tensor(covariates, dtype=torch.float32),
            }
        )
    return items


def predictions(training: list[dict[str, Any]], new: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    cohort = BraTSCohort()
    found = predictions_of_baselines(cohort.baselines(), training, new, cohort.targets)
    return {name: torch.stack(days) for name, days in found.items()}


def test_ridge_and_mean_learn_from_those_who_died() -> None:
    training, new = patients(12, alive=2), patients(3)
    found = predictions(training, new)
    assert list(found) == ["ridge on age and resection", "Cox on age and resection", "ridge on age", "mean"]
    assert all(days.shape == (3, 1, 1) and (days >= 0).all() for days in found.values())
    days = np.array([item["survival_days"] for item in training[2:]])
    np.testing.assert_allclose(found["mean"].flatten(), days.mean())
    known, features = (torch.cat([item["covariates"] for item in items]).double().numpy() for items in (training[2:], new))
    for name, columns in {"ridge on age and resection": [0, 1, 2], "ridge on age": [0]}.items():
        ridge = patient_wise_ridge(known[:, columns], days, np.arange(10), "neg_mean_squared_error")
        np.testing.assert_allclose(found[name].flatten(), ridge.predict(features[:, columns]).clip(min=0))


def test_cox_maximises_the_penalised_partial_likelihood() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(30, 2))
    survival = np.stack([rng.permutation(30) + 1.0, rng.random(30) < 0.7], 1)

    def objective(beta: Any) -> float:
        """For distinct times: log of the share of the dying in the hazard of all who are at risk."""
        risk = features @ beta
        terms = [risk[k] - np.log(np.exp(risk[survival[:, 0] >= days]).sum()) for k, (days, died) in enumerate(survival) if died]
        return float(np.sum(terms) - beta @ beta)

    cox = CoxRegression(alpha=2.0).fit(features, survival)
    np.testing.assert_allclose(approx_fprime(cox.coef_, objective), 0, atol=1e-3)
    assert np.abs(cox.coef_).max() > 0.05


def test_the_expected_survival_of_cox_is_the_area_below_breslows_curve() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(12, 2)) + 3
    survival = np.stack([rng.permutation(12) + 1.0, rng.random(12) < 0.7], 1)
    survival[survival[:, 0] == 12, 1] = 1
    cox = CoxRegression(alpha=0.5).fit(features, survival)
    relative = np.exp(features @ cox.coef_)
    deaths = np.array([died / relative[survival[:, 0] >= days].sum() for days, died in survival])
    curve = [np.exp(-relative * deaths[survival[:, 0] <= day].sum()) for day in range(12)]  # from each day to the next
    np.testing.assert_allclose(cox.predict(features), np.sum(curve, 0), rtol=1e-6)


def test_cox_finds_an_effect_and_learns_from_the_living() -> None:
    training, new = patients(120, alive=20, effect=1.0), patients(2)
    for item, resected in zip(new, (0.0, 1.0), strict=True):
        item["covariates"] = torch.tensor([[0.0, resected, 0.0]])
    cox = CoxSurvival("Cox", age_and_resection)
    cox.fit(training)
    lower, higher = (days.item() for days in cox.predict(new))
    assert higher > 1.5 * lower
    cox.fit([{**item, "died": True} for item in training])
    assert higher > max(days.item() for days in cox.predict(new)), "those who live have lived longer than is known"


@pytest.mark.parametrize(("number", "alive"), [(1, 0), (2, 1), (3, 0), (6, 2)])
def test_few_patients(number: int, alive: int) -> None:
    for days in predictions(patients(number, alive), patients(2)).values():
        assert days.isfinite().all()


def test_nobody_died() -> None:
    for baseline in BraTSCohort(segmentation=True).baselines():
        with pytest.raises(ValueError, match="none of 5 training patients died"):
            baseline.fit(patients(5, alive=5))


def test_the_volume_of_the_tumour_counts_where_there_is_a_segmentation(tmp_path: Path) -> None:
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[:2, :3, 0], labels[4, 4, 3] = 2, 4
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([-2.0, 10.0, 5.0, 1.0])), tmp_path / "seg.nii.gz")
    assert tumour_volume(tmp_path / "seg.nii.gz") == pytest.approx(0.7)  # 7 voxels of 0.1 ml
    item = {**patients(1)[0], "segmentation": tmp_path / "seg.nii.gz"}
    diameter = age_resection_and_tumour(item)[-1]
    assert np.pi / 6 * diameter**3 == pytest.approx(0.7)
    names = [baseline.name for baseline in BraTSCohort(segmentation=True).baselines()]
    assert names[:2] == ["ridge on age, resection and tumour volume", "Cox on age, resection and tumour volume"]
    assert names[2:] == [baseline.name for baseline in BraTSCohort().baselines()]
