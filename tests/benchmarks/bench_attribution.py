"""Does the OSIC bundle's explanation point at the disease?  Contributions to the predicted change against simulated fibrosis.

    python tests/benchmarks/bench_attribution.py OUTPUT_DIR [--patients 80] [--epochs 30] [--overrides KEY=VALUE ...]

Simulates a cohort at half resolution, trains the bundle (unless OUTPUT_DIR holds a model), and explains the predictions of the
patients of the validation fold.  Where fibrosis is, is known from the simulation: the scan is simulated again without fibrosis
and with nothing but fibrosis in its lungs, and the differences show fibrosis and lungs.  Prints for each patient the share of the
absolute contribution in the lungs that lies in fibrosis, divided by the share of the lungs that is fibrosis (1 is chance; the
most that is possible is 1 / extent), and the medians of all, and of those with fibrosis in at most a third of the lungs.  One
thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from monai.transforms import Compose
from numpy.typing import NDArray

from monai_cpic.cohorts import OSICCohort, folds
from monai_cpic.data import LazyVolume
from monai_cpic.experiments.job import run_job
from monai_cpic.model_files import read_model
from monai_cpic.networks import attribute
from monai_cpic.phantoms import OSICSimulation
from monai_cpic.reporting.contribution_map import contribution_map

CACHE = Path(os.environ.get("MONAI_CPIC_CACHE", Path.home() / ".cache" / "monai_cpic")) / "bench_attribution"
BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "osic_fvc"
VISIBLE = 0.02  # of the window of intensities: a difference between two simulated scans that is no rounding error


def dense(volume: LazyVolume) -> NDArray[np.float32]:
    """All voxels of the first channel."""
    centres = torch.cartesian_prod(*(torch.arange(edge) for edge in volume.shape[1:]))
    values: NDArray[np.float32] = volume.gather(centres, 1)[:, 0].reshape(volume.shape[1:]).numpy()
    return values


def anatomy(
    simulation: OSICSimulation, number: int, truth: dict[str, Any], item: dict[str, Any], preprocessing: Compose
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where fibrosis and lungs are, on the grid of the network."""
    scans = []
    with tempfile.TemporaryDirectory() as folder:
        for extent in (0.0, truth["extent"], 1.0):
            cohort = Path(folder) / str(extent)
            (cohort / "train").mkdir(parents=True)
            simulation.write_patient(cohort, number, {**truth, "extent": extent})
            scans.append(dense(preprocessing({**item, "image": str(cohort / "train" / truth["Patient"])})["image"]))
    healthy, own, sick = scans
    fibrosis = np.abs(own - healthy) > VISIBLE
    return fibrosis, fibrosis | (np.abs(sick - healthy) > VISIBLE)


def main() -> None:
    """Train if there is no model, then explain and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--patients", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--overrides", nargs="+", default=[], metavar="KEY=VALUE", help="of the bundle's train.yaml")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"patients": arguments.patients, "seed": 0, "resolution": 0.5}
    simulation = OSICSimulation(**settings)
    data = simulation.ensure(CACHE / f"osic_{arguments.patients}_0.5")
    path = arguments.output_dir / "model.pt"
    if not path.is_file():
        job = {
            "dataset_dir": str(data),
            "output_dir": str(arguments.output_dir),
            "simulation": settings,
            "spatial_shape": [128, 128, 32],
            "hu_window": [-1000, -440],
            "batch_size": 16,
            "max_epochs": arguments.epochs,
            "val_interval": arguments.epochs,
            **{key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in arguments.overrides)},
        }
        run_job(BUNDLE, ["train.yaml"], job)
    model = read_model(path)
    network = model.load(model["network_def"])
    preprocessing = Compose(model["opening"] + model["freezing"], lazy=True)
    truth = pd.read_csv(data / "truth.csv")
    numbers = {patient: number for number, patient in enumerate(truth["Patient"])}
    cohort = OSICCohort()
    _, patients = folds(cohort.read(data), model["n_folds"], int(model.validation_fold), model.record.seed)
    rows = []
    for item in patients:
        number = numbers[item["patient"]]
        known = truth.iloc[number].to_dict()
        volume = preprocessing(dict(item))["image"]
        fibrosis, lungs = anatomy(simulation, number, known, item, preprocessing)
        explained = cohort.explained(item)
        found = attribute(network, volume, explained.covariates, explained.output).scaled(explained.unit)
        contributions = contribution_map(volume, found)
        inside, share = np.abs(contributions)[fibrosis].sum() / np.abs(contributions)[lungs].sum(), fibrosis.sum() / lungs.sum()
        lower = np.clip(-contributions, 0, None)
        rows.append(
            {
                "extent": known["extent"],
                "predicted (ml)": found.prediction,
                "by structure (ml)": float(found.values.sum()),
                "lungs / all": np.abs(contributions)[lungs].sum() / np.abs(contributions).sum(),
                "ratio": inside / share,
                "ratio of what lowers": lower[fibrosis].sum() / lower[lungs].sum() / share,
                "possible": 1 / share,
            }
        )
    table = pd.DataFrame(rows).sort_values("extent", ignore_index=True)
    print(table.round(2).to_string())
    print("median", table.median().round(2).to_dict())
    print("median, extent up to 1/3", table[table["extent"] <= 1 / 3].median().round(2).to_dict())


if __name__ == "__main__":
    main()
