"""How much of what a scan could tell about lung function does the OSIC bundle find?  Five folds by patient, simulated.

    python tests/benchmarks/bench_fvc.py RESULTS.jsonl [--folds 0 1 2 3 4] [--shuffled] [--overrides KEY=VALUE ...]
    python tests/benchmarks/bench_fvc.py --baselines        # without training: only the models of scikit-learn, in seconds

200 simulated patients, as the bundle simulates them.  Each fold trains the bundle with its own settings, and with it its model of
the covariates only, and fits the bundle's other baselines.  --shuffled: each patient has the scan of another, so that scans say
nothing.  Beside them stand the same head with the true extent of fibrosis as one
more covariate, ridge regression with that covariate, and the best that can be known: the true FVC at the baseline and its true
slope, of which only the spirometer's error is left.  Every finished fold is a line of RESULTS.jsonl with its files in a folder
beside it, and one that is there is not repeated.  Prints the mean over folds, and of all patients together the score and the
difference to the network with their bootstrap intervals, and the share of visits inside the 20 to 80 % interval, also after
calibration on the patients of the other folds.  Name at least two folds.  One thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor
from tqdm import trange

from monai_cpic.cohorts import OSICCohort, folds
from monai_cpic.cohorts.baselines import predictions_of_baselines
from monai_cpic.cohorts.baselines.fvc import FVCRidge
from monai_cpic.cohorts.bootstrap import Estimate
from monai_cpic.cohorts.calibration import IntervalCalibration
from monai_cpic.cohorts.comparison import compare
from monai_cpic.cohorts.csv_files import read_table
from monai_cpic.cohorts.osic.items import CHANGE_UNIT, COVARIATES
from monai_cpic.experiments.job import run_job
from monai_cpic.losses import QuantileRateLoss
from monai_cpic.networks import CovariatesOnlyNet
from monai_cpic.phantoms import OSICSimulation
from monai_cpic.reporting.metrics_file import model_key

CACHE = Path(os.environ.get("MONAI_CPIC_CACHE", Path.home() / ".cache" / "monai_cpic")) / "bench_learning"
BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "osic_fvc"
SIMULATION: dict[str, Any] = {"patients": 200, "seed": 0, "resolution": 0.5}
QUANTILES = torch.tensor([-0.8416, 0.0, 0.8416])  # 0.2, 0.5 and 0.8 of the normal distribution
EPOCHS = 40  # of the head that knows the extent
SPIROMETER = 70.0  # ml: mean deviation of its error in the simulation

Items = Sequence[dict[str, Any]]
Fold = tuple[Items, Mapping[str, Sequence[Tensor]]]


def with_extent(item: Mapping[str, Any], truth: pd.DataFrame) -> dict[str, Any]:
    """A patient with the true extent as one more covariate."""
    extent = torch.full((len(item["weeks"]), 1), float(truth.loc[item["patient"], "extent"]))
    return {**item, "covariates": torch.cat([item["covariates"], extent], 1)}


def shuffled(data: Path) -> Path:
    """The cohort with the scans of other patients, as links beside it."""
    folder = data.with_name(f"{data.name}_shuffled")
    folder.mkdir(exist_ok=True)
    for name in ("train.csv", "test.csv", "truth.csv"):
        shutil.copy(data / name, folder / name)
    patients = sorted(path.name for path in (data / "train").iterdir())
    (folder / "train").mkdir(exist_ok=True)
    for patient, other in zip(patients, random.Random(0).sample(patients, len(patients)), strict=True):
        if not (folder / "train" / patient).exists():
            (folder / "train" / patient).symlink_to(data / "train" / other)
    return folder


def knows_extent(training: Items, patients: Items) -> list[Tensor]:
    """Predictions of the bundle's head, trained as in the bundle, from covariates with the true extent."""
    torch.manual_seed(0)
    network, loss_function = CovariatesOnlyNet(len(COVARIATES) + 1, 4), QuantileRateLoss((0.2, 0.5, 0.8))
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * math.ceil(len(training) / 16))
    for _ in trange(EPOCHS, desc="knows the extent", leave=False):
        for batch in torch.randperm(len(training)).split(16):
            items = [training[place] for place in batch]
            prediction = network(None, torch.cat([item["covariates"] for item in items]))
            optimizer.zero_grad()
            loss_function(prediction, torch.cat([item["label"] for item in items])).backward()
            optimizer.step()
            scheduler.step()
    with torch.no_grad():
        return [item["baseline_fvc"] + CHANGE_UNIT * network(None, item["covariates"])[:, :3].sort(1).values for item in patients]


def knows_all(patients: Items, truth: pd.DataFrame) -> list[Tensor]:
    """The true expectation, with the spirometer's error."""
    predictions = []
    for item in patients:
        known = truth.loc[item["patient"]]
        expected = known["baseline_fvc"] + known["slope"] * 52 * item["covariates"][:, 0]
        predictions.append(expected[:, None] + SPIROMETER * QUANTILES)
    return predictions


def without_training(training: Items, patients: Items, truth: pd.DataFrame) -> dict[str, list[Tensor]]:
    """Predictions of the bundle's baselines, of the ridge regression that knows the extent, and of the truth."""
    cohort = OSICCohort()
    known, new = ([with_extent(item, truth) for item in items] for items in (training, patients))
    return {
        **predictions_of_baselines(cohort.baselines(), training, patients, cohort.targets),
        "ridge knows extent": predictions_of_baselines([FVCRidge()], known, new, cohort.targets)["ridge"],
        "knows all": knows_all(patients, truth),
    }


def of_run(folder: Path, patients: Items) -> dict[str, list[Tensor]]:
    """Predictions of the network and of the covariates-only model, from the files of a run of the bundle."""
    network = json.loads((folder / "metrics.json").read_text())["network"]
    baselines = read_table(folder / "baselines.csv")
    tables = {
        network: read_table(folder / "predictions.csv"),
        "covariates only": baselines[baselines["model"] == "covariates only"],
    }
    visits = [len(item["weeks"]) for item in patients]
    names = [f"{item['patient']}_{week}" for item in patients for week in item["weeks"].tolist()]
    for table in tables.values():
        if table["Patient_Week"].tolist() != names:
            raise ValueError(f"{folder} holds predictions of other patients than those of this fold: delete it.")
    return {name: list(torch.tensor(t[["q20", "q50", "q80"]].to_numpy()).split(visits)) for name, t in tables.items()}


def interval(estimate: Estimate) -> str:
    """An estimate as text."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def calibrated_by_others(parts: list[Fold]) -> dict[str, list[Tensor]]:
    """The predictions of each model for all patients, whose intervals are calibrated on the patients of the other folds.

    Args:
        parts: for each fold its patients and the predictions of each model.
    """
    calibrated: dict[str, list[Tensor]] = {name: [] for name in parts[0][1]}
    for fold, (_, outputs) in enumerate(parts):
        others = parts[:fold] + parts[fold + 1 :]
        measured = [item["fvc"] for items, _ in others for item in items]
        for name, own in outputs.items():
            held_out = [prediction for _, given in others for prediction in given[name]]
            calibration = IntervalCalibration.fit(held_out, measured, coverage=0.6)
            calibrated[name] += [calibration(prediction) for prediction in own]
    return calibrated


def summary(parts: list[Fold], model: str) -> str:
    """A row for each model: mean and standard deviation over folds, pooled score, and ``model`` minus it.

    Args:
        parts: for each fold its patients and the predictions of each model.
        model: the model that is compared with the others.
    """
    cohort = OSICCohort()
    patients = [item for items, _ in parts for item in items]
    outputs = {name: [prediction for _, given in parts for prediction in given[name]] for name in parts[0][1]}
    pooled, calibrated = (compare(cohort, patients, given, model) for given in (outputs, calibrated_by_others(parts)))
    scores = pd.DataFrame(
        [{name: cohort.scores(cohort.table(items, given[name]))["score"] for name in outputs} for items, given in parts]
    )
    rows = {
        name: {
            "folds": f"{scores[name].mean():.3f} ± {scores[name].std():.3f}",
            "all patients": interval(pooled.scores[name]["score"]),
            "coverage": interval(pooled.scores[name]["coverage"]),
            "calibrated: score": interval(calibrated.scores[name]["score"]),
            "coverage ": interval(calibrated.scores[name]["coverage"]),
            f"{model} minus it": interval(pooled.differences[name]["score"]) if name in pooled.differences else "",
        }
        for name in outputs
    }
    table = pd.DataFrame(rows).T.to_string()
    return f"{len(parts)} folds, {len(patients)} patients; score (higher is better), 95 % intervals by patient\n{table}"


def main() -> None:
    """Run the folds that are missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--shuffled", action="store_true", help="scans of other patients")
    parser.add_argument("--overrides", nargs="+", default=[], metavar="KEY=VALUE", help="of the bundle's train.yaml")
    parser.add_argument("--baselines", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    if len(arguments.folds) < 2:
        parser.error("name at least two folds: each is calibrated by the others")
    if arguments.results is None and not arguments.baselines:
        parser.error("name the file of the results, or give --baselines")
    torch.set_num_threads(1)
    data = OSICSimulation(**SIMULATION).ensure(CACHE / "osic_200_0.5")
    data = shuffled(data) if arguments.shuffled else data
    truth = pd.read_csv(data / "truth.csv").set_index("Patient")
    items = OSICCohort().read(data)
    if arguments.baselines:
        parts = [folds(items, 5, fold, seed=0) for fold in arguments.folds]
        print(summary([(patients, without_training(training, patients, truth)) for training, patients in parts], "ridge"))
        return
    overrides = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in arguments.overrides)}
    rows = [json.loads(line) for line in arguments.results.read_text().splitlines()] if arguments.results.exists() else []
    found: list[Fold] = []
    for fold in arguments.folds:
        what = {"fold": fold, "shuffled": arguments.shuffled, "overrides": overrides}
        folder = arguments.results.with_suffix("") / f"fold{fold}"
        if not any(what.items() <= row.items() for row in rows):
            settings = {
                "dataset_dir": str(data),
                "output_dir": str(folder),
                "simulation": SIMULATION,
                "fold": fold,
                **overrides,
            }
            metrics = run_job(BUNDLE, ["train.yaml"], settings)["metrics"]
            with arguments.results.open("a") as file:
                file.write(json.dumps({**what, "score": metrics[model_key(metrics["network"])]["score"]}) + "\n")
        training, patients = folds(items, 5, fold, seed=0)
        known, new = ([with_extent(item, truth) for item in part] for part in (training, patients))
        others = {
            "knows extent": knows_extent(known, new),
            **without_training(training, patients, truth),
        }
        found.append((patients, {**of_run(folder, patients), **others}))
    print(summary(found, next(iter(found[0][1]))))


if __name__ == "__main__":
    main()
