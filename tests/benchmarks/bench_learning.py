"""Does it learn from scans?  C-PIC, its ablations and ResNet-34 for the same processor time, five folds by patient.

    python tests/benchmarks/bench_learning.py RESULTS.jsonl [--cohorts osic hippocampus] [--methods ...] [--seconds 300]

osic: 200 simulated chest CTs at half resolution, resized to 64×64×16, -1000 … -440 HU; the target is the extent of fibrosis.
hippocampus: 260 real MRI crops (MONAI_CPIC_DATA, else ../shared/data), padded by their border to 48×64×48; the target is the
volume of the hippocampus.  One thread; the budget is processor time of this process, reading included, so that other work on
the machine counts less.  The recipe has two lines, read out by the head that taught the encoder and by ridge regression on the
tensor trains of the same training.  Every finished training is written to RESULTS.jsonl, and one that is there is not repeated.
Prints a table.
--smoke: small cohort, seconds of training, two minutes in all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai.transforms as mt
import nibabel as nib
import numpy as np
import pandas as pd
import torch
from alignment import AlignedLoss
from torch import Tensor, nn
from tqdm import tqdm

from monai_cpic.cohorts import OSICCohort, folds
from monai_cpic.data import LazyVolume
from monai_cpic.networks import (
    CPICNet,
    RandomCells,
    ResNetRegressor,
    RidgeReadout,
    TTBottleneck,
    TTProjection,
    VolumeRegressor,
    paper_net,
    random_cells_net,
)
from monai_cpic.phantoms import OSICSimulation
from monai_cpic.tensor_train import TensorTrain
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed

CACHE = Path(os.environ.get("MONAI_CPIC_CACHE", Path.home() / ".cache" / "monai_cpic")) / "bench_learning"
DATA = Path(os.environ.get("MONAI_CPIC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
MISALIGNED: dict[str, Any] = {"rotate_range": (0.0, 0.0, math.radians(10)), "translate_range": (8, 8, 2)}


# ---- cohorts: scans [N, 1, *shape] and targets [N] -------------------------------------------------------------------------


def osic(patients: int, resolution: float) -> tuple[Tensor, Tensor]:
    """Simulated chest CTs and the extent of fibrosis in them."""
    shape, file = (64, 64, 16), CACHE / f"osic_{patients}_{resolution}.pt"
    if not file.exists():
        folder = OSICSimulation(patients, 0, resolution).ensure(CACHE / f"osic_{patients}_{resolution}")
        truth = pd.read_csv(folder / "truth.csv").set_index("Patient")["extent"]
        window = mt.ScaleIntensityRange(-1000.0, -440.0, 0.0, 1.0, clip=True)
        prepare = mt.Compose([LoadLazyVolumed("image"), mt.Resized("image", shape), FreezeLazyVolumed("image")], lazy=True)
        items = tqdm(OSICCohort().read(folder), desc="reading")
        pairs = [(window(whole(prepare(dict(item))["image"])), truth[item["patient"]]) for item in items]
        torch.save((torch.stack([torch.as_tensor(x) for x, _ in pairs]), torch.tensor([y for _, y in pairs])), file)
    return torch.load(file)


def hippocampus(patients: int) -> tuple[Tensor, Tensor]:
    """Real MRI crops, each of zero mean and unit variance, and the volume of the hippocampus in mm³."""
    folder = DATA / "cohort_hippocampus_msd"
    table = pd.read_csv(folder / "targets.csv").head(patients)
    pad = mt.SpatialPad((48, 64, 48), mode="edge")
    scans = [
        np.asarray(nib.Nifti1Image.from_filename(folder / "images" / f"{name}.nii.gz").dataobj, dtype=np.float32)
        for name in table["id"]
    ]
    padded = [torch.as_tensor(pad(((scan - scan.mean()) / scan.std())[None])) for scan in scans]
    return torch.stack(padded), torch.tensor(table["volume_mm3"].to_numpy(), dtype=torch.float32)


def whole(volume: LazyVolume) -> Tensor:
    """All voxels, ``[C, *spatial]``."""
    return volume.gather(torch.tensor([[size // 2 for size in volume.shape[1:]]]), volume.shape[1:])[0]


# ---- methods ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A network and how it is trained: AdamW, one cycle of the learning rate."""

    network: Callable[[Sequence[int], int], VolumeRegressor]
    rate: float
    batch: int
    alignment: float = 0.0


def random_cells(shape: Sequence[int], cells: int) -> VolumeRegressor:
    """The recipe: one random voxel per cell, a normalised encoder, channel means with a linear path, and ridge regression."""
    network = random_cells_net(shape, cells=cells)
    network.readout = RidgeReadout(1, 0, network.bottleneck.decomposition.mode_sizes)
    return network


METHODS = {
    "C-PIC": Method(random_cells, 5e-3, 16),
    "cross, 15 rows, aligned": Method(lambda shape, _: CPICNet(shape), 3e-3, 16, alignment=1.0),
    "paper: plain cross": Method(lambda shape, _: paper_net(shape), 3e-3, 16),
    "ResNet-34": Method(lambda shape, _: ResNetRegressor(shape), 1e-3, 8),
}


def pipeline(misaligned: bool, flips: bool) -> mt.Compose:
    """Augmentation, recorded lazily: only the cubes that are read are resampled."""
    flip = [mt.RandFlipd("image", prob=0.5, spatial_axis=axis) for axis in range(3)] if flips else []
    affine = [mt.RandAffined("image", prob=1.0, padding_mode="border", **MISALIGNED)] if misaligned else []
    freeze = FreezeLazyVolumed("image", mode="nearest" if misaligned else "bilinear")  # a patient who moves keeps the texture
    return mt.Compose([LoadLazyVolumed("image"), *flip, *affine, freeze], lazy=True)


def train(network: VolumeRegressor, method: Method, scans: Tensor, target: Tensor, seconds: float, load: mt.Compose) -> int:
    """Train for some processor time; the number of epochs begun."""
    loss_function: nn.Module = nn.MSELoss()
    if isinstance(network, CPICNet) and method.alignment:
        loss_function = AlignedLoss(loss_function, network.bottleneck, method.alignment)
    optimizer = torch.optim.AdamW(network.parameters(), lr=method.rate, weight_decay=0.1)
    network.train()
    start, epochs = time.process_time(), 0
    with tqdm(total=round(seconds), unit="s", leave=False) as bar:
        while True:
            epochs += 1
            for rows in torch.randperm(len(scans)).split(method.batch):
                done = (time.process_time() - start) / seconds
                if done >= 1:
                    return epochs
                bar.update(round(done * seconds) - bar.n)
                if len(rows) == 1:
                    continue  # a batch of one has no statistics; another epoch puts this scan elsewhere
                for group in optimizer.param_groups:
                    group["lr"] = method.rate * (done / 0.3 if done < 0.3 else (1 + math.cos(math.pi * (done - 0.3) / 0.7)) / 2)
                volumes = [load({"image": scans[row]})["image"] for row in rows]
                loss = loss_function(network(volumes)[:, 0], target[rows])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 20.0)
                optimizer.step()
                bar.set_postfix(epoch=epochs, loss=f"{loss.item():.2f}")


@torch.no_grad()
def predict(network: VolumeRegressor, scans: Tensor, load: mt.Compose) -> Tensor:
    """Predictions ``[N]``."""
    volumes = [load({"image": scan})["image"] for scan in scans]
    return torch.cat([network(volumes[i : i + 16])[:, 0] for i in range(0, len(volumes), 16)])


@torch.no_grad()
def refresh(network: CPICNet, scans: Tensor, misaligned: bool) -> tuple[TensorTrain, Tensor]:
    """Statistics or basis from frozen weights; the tensor trains and which scan each is of.

    Scans that may be misaligned count three times.
    """
    load = pipeline(misaligned, flips=False).set_random_state(0)
    rows = torch.arange(len(scans)).repeat(3 if misaligned else 1)
    trains = TensorTrain.cat([network.bottleneck([load({"image": scans[row]})["image"]]) for row in rows])
    network.projection.refresh(trains[: network.projection.capacity])
    return trains, rows


def r_squared(prediction: Tensor, target: Tensor) -> float:
    """Share of the target's variance that is explained."""
    return 1 - ((prediction - target).square().mean() / target.var(correction=0)).item()


def probe(features: Tensor, target: Tensor) -> float:
    """R² of ridge regression, each sample predicted from seven eighths of the others."""
    target, fold = target.double(), torch.arange(len(target)) % 8
    prediction = torch.empty_like(target)
    for k in range(8):
        centre, scale, mean = features[fold != k].mean(0), features[fold != k].std(0) + 1e-9, target[fold != k].mean()
        known = (features[fold != k] - centre) / scale
        normal = known.mT @ known + torch.eye(features.shape[1], dtype=features.dtype)
        weights = torch.linalg.solve(normal, known.mT @ (target[fold != k] - mean))
        prediction[fold == k] = (features[fold == k] - centre) / scale @ weights + mean
    return r_squared(prediction, target)


@torch.no_grad()
def probes(network: CPICNet, scans: Tensor, target: Tensor) -> dict[str, float]:
    """Probes of the network's features and of 10 principal components of the same encoder at every voxel, on the same scans."""
    load = pipeline(misaligned=False, flips=False)
    volumes = [load({"image": scan})["image"] for scan in scans]
    shape = scans.shape[2:]
    every_voxel = RandomCells(shape, network.encoder.n_dims, cells=math.prod(shape))
    dense = TTBottleneck(network.encoder, every_voxel).eval()
    dense.standardise = network.bottleneck.standardise
    trains = TensorTrain.cat([dense([volume]) for volume in tqdm(volumes, desc="dense", leave=False)])
    components = TTProjection(10, every_voxel.mode_sizes, every_voxel.ranks, capacity=len(trains))
    components.refresh(trains)
    features = torch.cat([network.features([volume]) for volume in volumes])
    return {"probe": probe(features, target), "probe_dense_pca": probe(components.eval()(trains), target)}


def run(
    cohort: str, name: str, fold: int, seed: int, arguments: argparse.Namespace, data: tuple[Tensor, Tensor]
) -> list[dict[str, object]]:
    """One training and its figures, for each way to read it out."""
    scans, target = data
    parts = folds([{"patient": i} for i in range(len(scans))], 5, fold, seed=0)
    known, new = (torch.tensor([item["patient"] for item in part]) for part in parts)
    normalised = (target - target[known].mean()) / target[known].std()
    torch.manual_seed(seed)
    method = METHODS[name]
    network = method.network(scans.shape[2:], 4096 if cohort == "hippocampus" else 1024)
    load = pipeline(arguments.augment, flips=cohort == "osic").set_random_state(seed)
    epochs = train(network, method, scans[known], normalised[known], arguments.seconds, load)
    network.eval()

    def figures(readout: str) -> dict[str, object]:
        aligned, moved = pipeline(False, flips=False), pipeline(True, flips=False).set_random_state(0)
        predicted, of_moved = predict(network, scans, aligned), predict(network, scans[new], moved)
        return {
            "readout": readout,
            "epochs": epochs,
            "train_r2": r_squared(predicted[known], normalised[known]),
            "test_r2": r_squared(predicted[new], normalised[new]),
            "moved_r2": r_squared(of_moved, normalised[new]),
        }

    if not isinstance(network, CPICNet):
        return [figures("head")]
    trains, rows = refresh(network, scans[known], arguments.augment)
    results = [figures("head")]  # as long as the ridge regression has not been fitted
    if isinstance(network.readout, RidgeReadout):
        network.readout.fit(trains, normalised[known][rows, None], patients=rows)
        results.append(figures("ridge"))
        if fold == 0 and cohort == "osic" and not arguments.augment:
            results[-1] |= probes(network, scans, target)
    return results


def table(rows: Sequence[dict[str, object]]) -> str:
    """Mean ± standard deviation over folds and seeds."""
    frame = pd.DataFrame(rows)
    grouped = frame.groupby(["cohort", "method", "readout", "augment", "seconds"], sort=False)
    figures = ["epochs", "train_r2", "test_r2", "moved_r2"]
    mean, deviation = grouped[figures].mean(), grouped[figures].std()
    titles = ["cohort", "method", "read out by", "augmented", "seconds", "runs", *figures]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for key, values in mean.iterrows():
        several = len(grouped.get_group(key)) > 1
        shown = [f"{values[f]:.2f}" + f" ± {deviation.loc[key, f]:.2f}" * several for f in figures]
        lines.append("| " + " | ".join([*map(str, key), str(len(grouped.get_group(key))), *shown]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--cohorts", nargs="+", default=["osic", "hippocampus"], choices=["osic", "hippocampus"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--augment", action="store_true", help="train on shifted and rotated scans")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    CACHE.mkdir(parents=True, exist_ok=True)
    if arguments.smoke:
        arguments.seconds, arguments.folds = 1.0, [0]
    rows = [json.loads(line) for line in arguments.results.read_text().splitlines()] if arguments.results.exists() else []
    for cohort in arguments.cohorts:
        data = (
            hippocampus(10 if arguments.smoke else 260)
            if cohort == "hippocampus"
            else osic(*((10, 0.25) if arguments.smoke else (200, 0.5)))
        )
        for seed in arguments.seeds:
            for fold in arguments.folds:
                for name in arguments.methods:
                    what = {
                        "cohort": cohort,
                        "method": name,
                        "fold": fold,
                        "seed": seed,
                        "seconds": arguments.seconds,
                        "augment": arguments.augment,
                    }
                    if any(what.items() <= row.items() for row in rows):
                        continue
                    results = [{**what, **figures} for figures in run(cohort, name, fold, seed, arguments, data)]
                    rows += results
                    with arguments.results.open("a") as file:
                        file.writelines(json.dumps(row) + "\n" for row in results)
    print(table(rows))


if __name__ == "__main__":
    main()
