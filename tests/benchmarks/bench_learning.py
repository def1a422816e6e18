"""Does it learn from scans?  Networks for the same processor time on the cohorts of learning_cohorts.py, five folds by patient.

    python tests/benchmarks/bench_learning.py RESULTS.jsonl [--cohorts ...] [--methods ...] [--folds 0 1] [--seconds 300]
    python tests/benchmarks/bench_learning.py RESULTS.jsonl --rivals [--cohorts ...]

One thread; the budget is processor time of this process, reading included, so that other work on the machine counts less.
Scans of hundreds of voxels along an edge stay on disk; networks that need whole scans get them averaged over blocks.  A network
of patches has a line for each way to read it out: the default, a weighted mean of ridge regressions on what is encoded and on the
coarse scan; each of the two alone; and the head that taught the encoder.  --rivals: ridge regression on simple
features and on principal components (scikit-learn), instead of the trainings.

Every finished training is written to RESULTS.jsonl with its predictions of the scans of its fold, [patient, [prediction of each
target], [target]], and one that is there is not repeated.  R² of several targets is their mean.  Prints a table.
--smoke: small cohorts, a second of training, two minutes in all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai.transforms as mt
import pandas as pd
import torch
from learning_cohorts import COHORTS, Cohort
from learning_methods import METHODS, Method, readout_of
from learning_rivals import RIVALS, rival_predictions
from torch import Tensor, nn
from tqdm import tqdm

from monai_cpic.cohorts import folds
from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import CPICNet, Curriculum, Decomposition, Readout, SampledField, StackedReadout, VolumeRegressor
from monai_cpic.transforms import FreezeLazyVolumed, LoadLazyVolumed

CELLS_ALONE = 0.7  # share of the budget in which a curriculum's random cells teach
SHOWN = 100  # scans of the training whose R² is reported


# ---- training --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """What happened in a training.

    Attributes:
        epochs: begun.
        voxels: mean number of voxels that were encoded of a scan in a step; None for networks that see all.
    """

    epochs: int
    voxels: float | None


@dataclass(frozen=True)
class Views:
    """How the scans of a cohort are read: flipped and moved in training, as they are otherwise, all lazily.

    Args:
        cohort: the cohort.
        reduced: whether the reduced scans are read.
    """

    cohort: Cohort
    reduced: bool

    def scans(self) -> Sequence[LazyVolume]:
        """The scans, open."""
        return [open_volume(scan) for scan in self.cohort.reduced] if self.reduced else self.cohort.scans

    def training(self, seed: int) -> mt.Compose:
        """Flips and jitter, if the cohort has them; a reduced scan is only flipped."""
        flips = [mt.RandFlipd("image", prob=0.5, spatial_axis=axis) for axis in range(3)] if self.cohort.flips else []
        return self._lazy(flips, 0 if self.reduced else self.cohort.jitter, random=True).set_random_state(seed)

    def evaluation(self) -> mt.Compose:
        """The scan in the middle of the grid."""
        return self._lazy([], 0, random=False)

    def _lazy(self, transforms: Sequence[mt.Transform], jitter: int, random: bool) -> mt.Compose:
        # Shifts by whole voxels, so that nothing is interpolated: pad by the jitter, cut the grid out anywhere.
        padded = mt.SpatialPadd("image", [edge + 2 * jitter for edge in self.cohort.grid])
        crop = mt.RandSpatialCropd("image", self.cohort.grid, random_center=True, random_size=False)
        moves = [] if self.reduced or not self.cohort.padded else [padded, *([crop] if random and jitter else [])]
        return mt.Compose([LoadLazyVolumed("image"), *moves, *transforms, FreezeLazyVolumed("image")], lazy=True)


def train(
    network: VolumeRegressor,
    method: Method,
    scans: Sequence[LazyVolume],
    targets: Tensor,
    seconds: float,
    load: mt.Compose,
) -> Training:
    """Train for some processor time.

    Args:
        network: the network.
        method: how it is trained.
        scans: of the training.
        targets: ``[N, K]``, normalised.
        seconds: processor time.
        load: augmentation.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=method.rate, weight_decay=0.1)
    network.train()
    decomposition = network.bottleneck.decomposition if isinstance(network, CPICNet) else None
    curriculum = decomposition if isinstance(decomposition, Curriculum) else None
    start, epochs, seen, voxels = time.process_time(), 0, 0, 0
    with tqdm(total=round(seconds), unit="s", leave=False, disable=None) as bar:
        while True:
            epochs += 1
            for rows in torch.randperm(len(scans)).split(method.batch):
                done = (time.process_time() - start) / seconds
                if done >= 1:
                    return Training(epochs, voxels / seen if voxels else None)
                bar.update(round(done * seconds) - bar.n)
                if curriculum is not None and done > CELLS_ALONE:
                    curriculum.steps = 0
                if len(rows) == 1:
                    continue  # a batch of one has no statistics; another epoch puts this scan elsewhere
                for group in optimizer.param_groups:
                    group["lr"] = method.rate * (done / 0.3 if done < 0.3 else (1 + math.cos(math.pi * (done - 0.3) / 0.7)) / 2)
                loss = _loss(network([load({"image": scans[row]})["image"] for row in rows]), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 20.0)
                optimizer.step()
                bar.set_postfix(epoch=epochs, loss=f"{loss.item():.2f}")
                if isinstance(network, CPICNet):
                    seen += len(rows)
                    voxels += sum(map(len, network.bottleneck.sampled))


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of the targets that are known."""
    known = ~targets.isnan()
    return nn.functional.mse_loss(outputs[known], targets[known])


@torch.no_grad()
def predict(network: VolumeRegressor, scans: Sequence[LazyVolume], load: mt.Compose) -> Tensor:
    """Predictions ``[N, K]``."""
    network.eval()
    volumes = [load({"image": scan})["image"] for scan in scans]
    return torch.cat([network(volumes[i : i + 16]) for i in range(0, len(volumes), 16)])


@torch.no_grad()
def fields(network: CPICNet, scans: Sequence[LazyVolume], load: mt.Compose) -> SampledField:
    """What readouts see of some scans."""
    network.eval()
    batches = [[load({"image": scan})["image"] for scan in scans[i : i + 16]] for i in range(0, len(scans), 16)]
    return SampledField.cat([network.field(batch) for batch in batches])


def r_squared(predicted: Tensor, target: Tensor) -> float:
    """Share of the variance of a target that is explained, the mean of all targets; what is not known is left out."""
    known = ~target.isnan()
    columns = [(p[k], t[k]) for p, t, k in zip(predicted.mT, target.mT, known.mT, strict=True)]
    return sum(1 - ((p - t).square().mean() / t.var(correction=0)).item() for p, t in columns) / len(columns)


def correlation(predicted: Tensor, target: Tensor) -> list[float]:
    """Pearson's r of each target."""
    known = ~target.isnan()
    columns = zip(predicted.mT, target.mT, known.mT, strict=True)
    return [torch.corrcoef(torch.stack([p[k], t[k]]))[0, 1].item() for p, t, k in columns]


# ---- one training and its lines --------------------------------------------------------------------------------------------


def split(cohort: Cohort, fold: int) -> tuple[Tensor, Tensor]:
    """Indices of the scans for training and for testing."""
    parts = folds([{"patient": i} for i in range(len(cohort.scans))], 5, fold, seed=0)
    known, new = (torch.tensor([item["patient"] for item in part]) for part in parts)
    return known, new


def figures(shown: Tensor, of_shown: Tensor, new: Tensor, of_new: Tensor, targets: Tensor) -> dict[str, object]:
    """What a line reports.

    Args:
        shown: indices of scans of the training.
        of_shown: their predictions.
        new: indices of the scans of the fold.
        of_new: their predictions.
        targets: of all scans.
    """
    table = zip(new.tolist(), of_new.tolist(), targets[new].tolist(), strict=True)
    return {
        "train_r2": r_squared(of_shown, targets[shown]),
        "test_r2": r_squared(of_new, targets[new]),
        "test_r": correlation(of_new, targets[new]),
        "predictions": [[patient, *([float(f"{y:.6g}") for y in ys] for ys in values)] for patient, *values in table],
    }


def train_and_test(name: str, cohort: Cohort, fold: int, seed: int, seconds: float) -> list[dict[str, object]]:
    """The lines of a method: one for each way to read its network out."""
    known, new = split(cohort, fold)
    centre = cohort.targets[known].nanmean(0)
    scale = (cohort.targets[known] - centre).square().nanmean(0).sqrt()
    normalised = (cohort.targets - centre) / scale
    torch.manual_seed(seed)
    method = METHODS[name]
    views = Views(cohort, method.reduced)
    scans, network = views.scans(), method.network(cohort)
    training = train(network, method, [scans[i] for i in known], normalised[known], seconds, views.training(seed))
    load, shown = views.evaluation(), known[:SHOWN]

    def line(read_out_by: str, of_shown: Tensor, of_new: Tensor, **more: object) -> dict[str, object]:
        return {
            "readout": read_out_by,
            "epochs": training.epochs,
            "voxels": training.voxels,
            **more,
            **figures(shown, of_shown * scale + centre, new, of_new * scale + centre, cohort.targets),
        }

    if not isinstance(network, CPICNet):
        return [line("head", *(predict(network, [scans[i] for i in rows], load) for rows in (shown, new)))]
    seen, unseen = (fields(network, [scans[i] for i in rows], load) for rows in (known, new))
    readouts = [_fitted(network.bottleneck.decomposition, cohort, seen, target) for target in normalised[known].mT]
    parts: dict[str, Sequence[Readout]] = {
        "stacked": readouts,
        "ridge": [each.fine for each in readouts],
        "coarse": [each.coarse for each in readouts],
    }
    shares = [each.share.item() for each in readouts]

    def predicted(by: Sequence[Readout], field: SampledField) -> Tensor:
        with torch.no_grad():
            return torch.cat([each(field) for each in by], 1).float()

    lines = [line(part, predicted(by, seen[: len(shown)]), predicted(by, unseen), share=shares) for part, by in parts.items()]
    with torch.no_grad():
        of_shown, of_new = (network.head(network.projection(field).float()) for field in (seen[: len(shown)], unseen))
    return [*lines, line("head", of_shown, of_new)]


def _fitted(decomposition: Decomposition, cohort: Cohort, field: SampledField, target: Tensor) -> StackedReadout:
    """A readout for one target ``[B]``, fitted to the scans of which it is known."""
    known = (~target.isnan()).nonzero()[:, 0]
    readout = readout_of(decomposition, cohort)
    readout.fit(field[known], target[known, None])
    return readout


def compare(name: str, cohort: Cohort, fold: int) -> list[dict[str, object]]:
    """The line of a rival."""
    known, new = split(cohort, fold)
    predicted = rival_predictions(name, cohort, known)
    result = figures(known, predicted[known], new, predicted[new], cohort.targets)
    return [{"readout": "ridge", "epochs": None, "voxels": None, **result}]


# ---- table -----------------------------------------------------------------------------------------------------------------


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean ± standard deviation over folds and seeds; the last two columns are of all predictions together."""
    titles = [
        "cohort",
        "method",
        "read out by",
        "seconds",
        "runs",
        "epochs",
        "voxels",
        "R² train",
        "R² test",
        "R² pooled",
        "r pooled",
    ]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for key, group in pd.DataFrame(rows).groupby(["cohort", "method", "readout", "seconds"], sort=False):
        pairs = [pair for predictions in group["predictions"] for _, *pair in predictions]
        predicted, target = torch.tensor(pairs, dtype=torch.float64).unbind(1)
        shown = [
            str(len(group)),
            *("" if math.isnan(x) else f"{x:.0f}" for x in group[["epochs", "voxels"]].astype(float).mean()),
        ]
        for figure in ("train_r2", "test_r2"):
            deviation = f" ± {group[figure].std():.3f}" if len(group) > 1 else ""
            shown.append(f"{group[figure].mean():.3f}{deviation}")
        shown += [f"{r_squared(predicted, target):.3f}", ", ".join(f"{r:.3f}" for r in correlation(predicted, target))]
        lines.append("| " + " | ".join([*map(str, key), *shown]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--cohorts", nargs="+", default=list(COHORTS), choices=list(COHORTS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rivals", action="store_true", help="ridge regressions instead of networks")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.smoke:
        arguments.seconds, arguments.folds = 1.0, [0]
    rows = [json.loads(line) for line in arguments.results.read_text().splitlines()] if arguments.results.exists() else []
    names, seconds, seeds = arguments.methods, arguments.seconds, arguments.seeds
    if arguments.rivals:
        names, seconds, seeds = list(RIVALS), 0.0, [0]
    for cohort_name in arguments.cohorts:
        asked = [
            {"cohort": cohort_name, "method": name, "fold": fold, "seed": seed, "seconds": seconds}
            for seed, fold, name in itertools.product(seeds, arguments.folds, names)
        ]
        missing = [what for what in asked if not any(what.items() <= row.items() for row in rows)]
        if not missing:
            continue
        cohort = COHORTS[cohort_name](arguments.smoke)
        for what in tqdm(missing, desc=cohort_name, disable=None):
            name, fold = what["method"], what["fold"]
            run = compare(name, cohort, fold) if arguments.rivals else train_and_test(name, cohort, fold, what["seed"], seconds)
            results = [{**what, **result} for result in run]
            rows += results
            with arguments.results.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in results)
    print(table(rows))


if __name__ == "__main__":
    main()
