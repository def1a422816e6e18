"""Radiomics: ridge regression on the intensities, the shape and the texture of what a scan shows."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from tqdm import tqdm

from monai_cpic.cohorts import fit_table, folds
from monai_cpic.cohorts.baselines.ridge import PENALTIES
from monai_cpic.cohorts.csv_files import read_table, write_table
from monai_cpic.experiments.real.cohorts import RealCohort
from monai_cpic.experiments.real.places import FOLDS, Place, table_of
from monai_cpic.extras import extra

with extra("experiments"):
    from nyxus import Nyxus3D

__all__ = ["RADIOMICS", "radiomics_of", "radiomics_predictions"]

RADIOMICS = "ridge on radiomics"
"""The method's name."""

INTENSITIES_AND_SHAPE = ("*3D_ALL_INTENSITY*", "*3D_ALL_MORPHOLOGY*")
TEXTURE = ("*3D_GLCM*", "*3D_GLRLM*", "*3D_GLSZM*", "*3D_GLDM*", "*3D_NGTDM*")
BINS = 32  # of the intensities of a scan, for its texture
QUANTILES = 100


def radiomics_predictions(at: Sequence[Place], output_dir: str | Path, executor: Executor) -> pd.DataFrame:
    """What ridge regression on radiomics predicts for the held-out patients of each place.

    Each feature is replaced by the normal quantile of its rank among the training patients, since many of them have long tails;
    the penalty is chosen by leaving patients out.  The features are kept in ``tables``, by patient: delete ``radiomics.csv``
    there if scans have changed.

    Args:
        at: the places.
        output_dir: folder of the comparison.
        executor: what measures the scans.

    Returns:
        A table like that of :func:`~monai_cpic.experiments.real.trials.predictions`.

    Raises:
        ValueError: if a scan cannot be measured, see :func:`radiomics_of`; the features of the others are kept.
    """
    output = Path(output_dir).absolute()
    cohorts = {place.cohort.name: place.cohort for place in at}
    features = {name: _features(cohort, output, executor) for name, cohort in cohorts.items()}
    targets = {(place.cohort.name, place.target): place for place in at}
    items = {names: _items(place.cohort, place.target, output) for names, place in targets.items()}
    tables = []
    for place in at:
        table = _predicted(place, items[place.cohort.name, place.target], features[place.cohort.name])
        tables.append(place.rows(RADIOMICS, float("nan"), table))
    return pd.concat(tables, ignore_index=True)


def radiomics_of(scans: Mapping[str, str]) -> dict[str, float]:
    """Features of the voxels of a scan that are not 0: 176 of each channel, and its spacing.

    They are intensities and shape, and the texture of the intensities in 32 bins between their percentiles 0.5 and 99.5: matrices
    of co-occurrence, run lengths, size zones, dependence and neighbouring differences (A. Zwanenburg et al., "The Image Biomarker
    Standardization Initiative", Radiology 295, 2020), as Nyxus computes them.

    Intensities are rounded to whole numbers, which is all that the library takes.

    Args:
        scans: for each channel the path of a NIfTI file.

    Raises:
        ValueError: if intensities of a channel are negative, or all are 0 when rounded.
    """
    found: dict[str, float] = {}
    for channel, path in scans.items():
        image = nibabel.Nifti1Image.from_filename(path)
        voxels = np.rint(np.asanyarray(image.dataobj))
        shown = voxels != 0
        if voxels.min() < 0 or not shown.any():
            raise ValueError(
                f"{path}: radiomics are computed of positive intensities, rounded to whole numbers, and here they are "
                f"{voxels.min():g} to {voxels.max():g}; scale them, or remove the patient from the cohort's table"
            )
        low, high = np.percentile(voxels[shown], [0.5, 99.5])
        binned = np.clip(np.floor((voxels - low) / max(high - low, 1) * BINS), 0, BINS - 1) + 1
        for families, seen in ((INTENSITIES_AND_SHAPE, voxels), (TEXTURE, binned)):
            found |= {f"{channel} {name}": value for name, value in _measured(families, seen, shown, image.affine).items()}
        found |= {f"{channel} spacing {axis}": float(step) for axis, step in zip("ijk", image.header.get_zooms(), strict=False)}
    return found


def _measured(
    families: tuple[str, ...], voxels: NDArray[np.generic], shown: NDArray[np.bool_], affine: NDArray[np.float64]
) -> dict[str, float]:
    """Features of the voxels of a region, which the library reads from files."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("image.nii", "region.nii")]
        for file, values in zip(files, (voxels.astype(np.int32), shown.astype(np.uint8)), strict=True):
            nibabel.save(nibabel.Nifti1Image(values, affine), file)
        row = _library(families).featurize_files(files[:1], files[1:], False).iloc[0]
    return {name: float(value) for name, value in row.items() if name[0] == "3"}  # the others are names of files


@functools.cache  # each takes tens of megabytes that it does not give back
def _library(families: tuple[str, ...]) -> Nyxus3D:
    return Nyxus3D(list(families), n_feature_calc_threads=1)


def _features(cohort: RealCohort, output: Path, executor: Executor) -> pd.DataFrame:
    """The features ``[N, P]`` of all patients of a cohort, by patient; those that are not kept are measured."""
    tables = [read_table(table_of(cohort, target, output), cohort.patient) for target in cohort.targets]
    scans = pd.concat(tables).drop_duplicates(cohort.patient).set_index(cohort.patient)[list(cohort.images)]
    path = table_of(cohort, "radiomics", output)
    kept = read_table(path, cohort.patient).set_index(cohort.patient) if path.exists() else pd.DataFrame()
    missing = scans.loc[~scans.index.isin(kept.index)].to_dict("index")
    running = {executor.submit(radiomics_of, paths): patient for patient, paths in missing.items()}
    found = {}
    try:
        for done in tqdm(as_completed(running), f"radiomics, {cohort.name}", len(running)):
            found[running[done]] = done.result()
    finally:
        if found:
            kept = pd.concat([kept, pd.DataFrame.from_dict(found, "index")])
            write_table(path, kept.rename_axis(cohort.patient).reset_index())
    return kept.loc[scans.index]


def _items(cohort: RealCohort, target: str, output: Path) -> list[dict[str, Any]]:
    """The patients of a target as the bundle reads them, so that its folds are those of the bundle."""
    path = table_of(cohort, target, output)
    return fit_table(path, list(cohort.images), target, kind="number").read(path)


def _predicted(place: Place, items: list[dict[str, Any]], features: pd.DataFrame) -> pd.DataFrame:
    """Predictions for the held-out patients."""
    training, held_out = folds(items, FOLDS, place.fold, 0, place.trained_on or None)
    ranks = QuantileTransformer(n_quantiles=min(QUANTILES, len(training)), output_distribution="normal")
    model = make_pipeline(ranks, RidgeCV(PENALTIES))
    model.fit(features.loc[[item["patient"] for item in training]].to_numpy(), [item["values"].item() for item in training])
    names = [item["patient"] for item in held_out]
    return pd.DataFrame(
        {
            "patient": names,
            place.target: model.predict(features.loc[names].to_numpy()),
            f"{place.target}_true": [item["values"].item() for item in held_out],
        }
    )
