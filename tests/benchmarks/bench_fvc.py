"""How much of what a scan could tell about lung function does the OSIC bundle find?  Five folds by patient, simulated.

    python tests/benchmarks/bench_fvc.py RESULTS.jsonl [--folds 0 1 2 3 4] [--epochs 40] [--overrides KEY=VALUE ...]

200 simulated patients, scans at half resolution, resized to 64×64×16.  Each fold trains the bundle, and with it its model of the
covariates only.  Beside them stand the same head with the true extent of fibrosis as one more covariate, and the best that can be
known: the true FVC at the baseline and its true slope, of which only the spirometer's error is left.  Every finished fold is a
line of RESULTS.jsonl, and one that is there is not repeated.  Prints a table.  One thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor
from tqdm import trange

from monai_cpic.cohorts import OSICCohort, folds
from monai_cpic.cohorts.osic.items import CHANGE_UNIT, COVARIATES
from monai_cpic.experiments.job import run_job
from monai_cpic.losses import QuantileRateLoss
from monai_cpic.metrics import laplace_log_likelihood
from monai_cpic.networks import CovariatesOnlyNet
from monai_cpic.phantoms import OSICSimulation
from monai_cpic.reporting.metrics_file import model_key

CACHE = Path(os.environ.get("MONAI_CPIC_CACHE", Path.home() / ".cache" / "monai_cpic")) / "bench_learning"
BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "osic_fvc"
SIMULATION: dict[str, Any] = {"patients": 200, "seed": 0, "resolution": 0.5}
QUANTILES = torch.tensor([-0.8416, 0.0, 0.8416])  # 0.2, 0.5 and 0.8 of the normal distribution
SPIROMETER = 70.0  # ml: mean deviation of its error in the simulation


def score(cohort: Sequence[dict[str, Any]], predictions: Sequence[Tensor]) -> float:
    """The challenge's score of predictions ``[V, 3]`` of each patient, in ml."""
    return laplace_log_likelihood(torch.cat([item["fvc"] for item in cohort]), torch.cat(list(predictions))).mean().item()


def knows_extent(training: Sequence[dict[str, Any]], cohort: Sequence[dict[str, Any]], truth: pd.DataFrame, epochs: int) -> float:
    """The score of the bundle's head, trained as in the bundle, with the true extent as one more covariate."""

    def covariates(item: dict[str, Any]) -> Tensor:
        extent = torch.full((len(item["weeks"]), 1), float(truth.loc[item["patient"], "extent"]))
        return torch.cat([item["covariates"], extent], 1)

    torch.manual_seed(0)
    network, loss_function = CovariatesOnlyNet(len(COVARIATES) + 1, 4), QuantileRateLoss((0.2, 0.5, 0.8))
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * math.ceil(len(training) / 16))
    for _ in trange(epochs, desc="knows the extent", leave=False):
        for batch in torch.randperm(len(training)).split(16):
            items = [training[place] for place in batch]
            prediction = network(None, torch.cat([covariates(item) for item in items]))
            optimizer.zero_grad()
            loss_function(prediction, torch.cat([item["label"] for item in items])).backward()
            optimizer.step()
            scheduler.step()
    with torch.no_grad():
        predictions = [i["baseline_fvc"] + CHANGE_UNIT * network(None, covariates(i))[:, :3].sort(1).values for i in cohort]
        return score(cohort, predictions)


def knows_all(cohort: Sequence[dict[str, Any]], truth: pd.DataFrame) -> float:
    """The score of the true expectation and the spirometer's error."""
    predictions = []
    for item in cohort:
        known = truth.loc[item["patient"]]
        expected = known["baseline_fvc"] + known["slope"] * 52 * item["covariates"][:, 0]
        predictions.append(expected[:, None] + SPIROMETER * QUANTILES)
    return score(cohort, predictions)


def main() -> None:
    """Run the folds that are missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--overrides", nargs="+", default=[], metavar="KEY=VALUE", help="of the bundle's train.yaml")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = OSICSimulation(**SIMULATION).ensure(CACHE / "osic_200_0.5")
    truth = pd.read_csv(data / "truth.csv").set_index("Patient")
    overrides = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in arguments.overrides)}
    rows = [json.loads(line) for line in arguments.results.read_text().splitlines()] if arguments.results.exists() else []
    for fold in arguments.folds:
        what = {"fold": fold, "epochs": arguments.epochs, "overrides": overrides}
        if any(what.items() <= row.items() for row in rows):
            continue
        settings = {
            "dataset_dir": str(data),
            "output_dir": str(arguments.results.with_suffix("") / f"fold{fold}"),
            "simulation": SIMULATION,
            "fold": fold,
            "spatial_shape": [64, 64, 16],
            "batch_size": 16,
            "max_epochs": arguments.epochs,
            "val_interval": arguments.epochs,
            **overrides,
        }
        found = run_job(BUNDLE, ["train.yaml"], settings)["metrics"]
        training, cohort = folds(OSICCohort().read(data), 5, fold, seed=0)
        scores = {
            "network": found[model_key(found["network"])]["score"],
            **{model: found[model]["score"] for model in ("covariates_only", "constant")},
            "knows_extent": knows_extent(training, cohort, truth, arguments.epochs),
            "knows_all": knows_all(cohort, truth),
        }
        rows.append({**what, **scores})
        with arguments.results.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    frame = pd.DataFrame(rows)
    models = ["network", "covariates_only", "constant", "knows_extent", "knows_all"]
    differences = pd.DataFrame({f"network - {name}": frame["network"] - frame[name] for name in models[1:]})
    print(pd.concat([frame[models], differences], axis=1).agg(["mean", "std"]).T.round(3).to_string())


if __name__ == "__main__":
    main()
