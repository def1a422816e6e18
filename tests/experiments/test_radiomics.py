"""Radiomics of simulated scans against numpy, and what ridge regression on them predicts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from sklearn.metrics import r2_score
from stand_ins import write_cohorts

from monai_cpic.cohorts import fit_table, folds
from monai_cpic.cohorts.csv_files import read_table, write_table
from monai_cpic.experiments.real.cohorts import COHORTS
from monai_cpic.experiments.real.places import places, table_of
from monai_cpic.experiments.real.radiomics import RADIOMICS, radiomics_of, radiomics_predictions

HEAD_AND_NECK = COHORTS[2]


def written(path: Path, voxels: np.ndarray) -> str:
    """A scan in a file, with voxels of 1×1×2 mm."""
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return str(path)


def noise_in_a_ball() -> np.ndarray:
    """Noise of 100 to 299 in a ball, 0 around it."""
    ball = np.linalg.norm(np.indices((18, 20, 19)) - 9.0, axis=0) < 6
    return ball * np.random.default_rng(0).integers(100, 300, ball.shape)


def test_features_of_the_voxels_that_are_not_zero(tmp_path: Path) -> None:
    voxels = noise_in_a_ball()
    shown = voxels[voxels != 0]
    found = radiomics_of({"mri": written(tmp_path / "scan.nii.gz", voxels)})
    expected = {
        "MEAN": shown.mean(),
        "MAX": shown.max(),
        "MIN": shown.min(),
        "INTEGRATED_INTENSITY": shown.sum(),
        "STANDARD_DEVIATION": shown.std(ddof=1),
        "ROOT_MEAN_SQUARED": np.sqrt((shown.astype(float) ** 2).mean()),
        "VOXEL_VOLUME": len(shown),
    }
    assert {name: found[f"mri 3{name}"] for name in expected} == pytest.approx(expected, rel=0.01)
    assert [found[f"mri spacing {axis}"] for axis in "ijk"] == [1, 1, 2]
    assert len(found) == 179 and np.isfinite(list(found.values())).all()


def test_texture_is_that_of_relative_intensities(tmp_path: Path) -> None:
    voxels = noise_in_a_ball()
    smooth = (voxels > 0) * (100 + np.indices(voxels.shape)[0])
    noise, brighter, ramp = (
        radiomics_of({"mri": written(tmp_path / f"{k}.nii.gz", scan)}) for k, scan in enumerate((voxels, 3 * voxels, smooth))
    )
    textures = [name for name in noise if name.startswith(("mri 3GL", "mri 3NGT"))]
    assert len(textures) > 100
    assert {name: brighter[name] for name in textures} == pytest.approx({name: noise[name] for name in textures})
    assert brighter["mri 3MEAN"] == pytest.approx(3 * noise["mri 3MEAN"])
    assert ramp["mri 3GLCM_CONTRAST"] < noise["mri 3GLCM_CONTRAST"] / 10


def test_a_scan_of_zeros_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"empty.nii.gz: .* here they are 0 to 0"):
        radiomics_of({"mri": written(tmp_path / "empty.nii.gz", np.zeros((4, 4, 4)))})


@pytest.mark.parametrize("change", [lambda voxels: voxels - 200, lambda voxels: voxels / 1000], ids=["negative", "fractions"])
def test_intensities_that_the_library_does_not_take_are_refused_by_name(tmp_path: Path, change: Callable[..., Any]) -> None:
    image = nibabel.Nifti1Image(change(noise_in_a_ball()).astype(np.float32), np.eye(4))
    nibabel.save(image, tmp_path / "scan.nii.gz")
    with pytest.raises(ValueError, match=r"scan.nii.gz: radiomics are computed of positive intensities"):
        radiomics_of({"mri": str(tmp_path / "scan.nii.gz")})


def test_held_out_patients_are_predicted_from_those_of_the_training(tmp_path: Path) -> None:
    data, output = write_cohorts(tmp_path / "data", patients=40), tmp_path / "runs"
    for target in HEAD_AND_NECK.targets:
        HEAD_AND_NECK.write_table(data, target, table_of(HEAD_AND_NECK, target, output))
    larynx = table_of(HEAD_AND_NECK, "mean_Larynx", output)
    items = fit_table(larynx, ["ct", "ptv"], "mean_Larynx").read(larynx)
    table = read_table(larynx)
    largest = table["id"][table["mean_Larynx"].idxmax()]
    held_out = [[item["patient"] for item in folds(items, 5, fold)[1]] for fold in range(5)]
    (fold,) = [fold for fold, patients in enumerate(held_out) if largest in patients]
    at = places([HEAD_AND_NECK], output, [fold, (fold + 1) % 5], trained_on=[20])
    with ThreadPoolExecutor(1) as executor:
        found = radiomics_predictions(at, output, executor)
        assert set(found["method"]) == {RADIOMICS} and set(found["trained_on"]) == {0, 20}
        assert (found.groupby(["target", "fold", "trained_on"]).size() == 8).all() and found["target"].nunique() == 5
        of_larynx = found[found["target"] == "mean_Larynx"]
        for (number, _), part in of_larynx.groupby(["fold", "trained_on"]):
            assert list(part["patient"]) == held_out[number]
        assert r2_score(found["value_true"], found["value"]) > 0.8, "the radius is what all targets are"

        # its target, which nobody is told, becomes much larger, and its rank stays
        write_table(larynx, table.assign(mean_Larynx=table["mean_Larynx"].where(table["id"] != largest, 1000.0)))
        for scan in (data / "cohort_headneck_openkbp" / "images").iterdir():
            nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.int16), np.eye(4)), scan)  # features are kept
        (place,) = [each for each in at if (each.target, each.fold, each.trained_on) == ("mean_Larynx", fold, 0)]
        again = radiomics_predictions([place], output, executor)
    first = of_larynx[(of_larynx["fold"] == fold) & (of_larynx["trained_on"] == 0)]
    assert 1000 in set(again["value_true"])
    np.testing.assert_allclose(again["value"], first["value"])


def test_what_was_measured_before_an_error_is_kept(tmp_path: Path) -> None:
    data, output = write_cohorts(tmp_path / "data", patients=6), tmp_path / "runs"
    cohort = COHORTS[0]
    cohort.write_table(data, "volume_mm3", table_of(cohort, "volume_mm3", output))
    written(data / cohort.folder / "images" / "P04.nii.gz", np.zeros((4, 4, 4)))
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match=r"P04.nii.gz: .* remove the patient"):
        radiomics_predictions(places([cohort], output, [0]), output, executor)
    assert {"P01", "P02", "P03"} <= set(read_table(table_of(cohort, "radiomics", output))["id"])
