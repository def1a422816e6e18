"""Radiomics of simulated scans against numpy, and what ridge regression on them predicts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
from sklearn.metrics import r2_score
from stand_ins import write_cohorts

from monai_cpic.cohorts import folds
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
    assert len(found) > 150 and np.isfinite(list(found.values())).all()


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
    with pytest.raises(ValueError, match=r"empty.nii.gz: all voxels are 0"):
        radiomics_of({"mri": written(tmp_path / "empty.nii.gz", np.zeros((4, 4, 4)))})


def test_held_out_patients_are_predicted_from_those_of_the_training(tmp_path: Path) -> None:
    data, output = write_cohorts(tmp_path / "data", patients=40), tmp_path / "runs"
    for target in HEAD_AND_NECK.targets:
        HEAD_AND_NECK.write_table(data, target, table_of(HEAD_AND_NECK, target, output))
    at = places([HEAD_AND_NECK], output, [0, 3], trained_on=[20])
    with ThreadPoolExecutor(1) as executor:
        found = radiomics_predictions(at, output, executor)
        larynx = table_of(HEAD_AND_NECK, "mean_Larynx", output)
        table = read_table(larynx)
        items = [{"patient": patient} for patient in table["id"]]
        assert set(found["method"]) == {RADIOMICS} and set(found["trained_on"]) == {0, 20}
        assert (found.groupby(["target", "fold", "trained_on"]).size() == 8).all() and found["target"].nunique() == 5
        for (fold, _), part in found[found["target"] == "mean_Larynx"].groupby(["fold", "trained_on"]):
            assert list(part["patient"]) == [item["patient"] for item in folds(items, 5, fold, 0)[1]]
        assert r2_score(found["value_true"], found["value"]) > 0.8, "the radius is what all targets are"

        held_out = folds(items, 5, 0, 0)[1][0]["patient"]  # whose target nobody is told, and whose scan is kept
        write_table(larynx, table.assign(mean_Larynx=table["mean_Larynx"].where(table["id"] != held_out, 1000.0)))
        for scan in (data / "cohort_headneck_openkbp" / "images").iterdir():
            scan.unlink()
        (place,) = [each for each in at if (each.target, each.fold, each.trained_on) == ("mean_Larynx", 0, 0)]
        again = radiomics_predictions([place], output, executor)
    first = found[(found["fold"] == 0) & (found["trained_on"] == 0) & (found["target"] == "mean_Larynx")]
    assert 1000 in set(again["value_true"])
    np.testing.assert_allclose(again["value"], first["value"])
