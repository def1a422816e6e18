"""Are real lesions seen, and how well is their volume estimated, before anything is learned?

    python tests/benchmarks/bench_lesions.py [--patients 1449] [--methods ...] [--json FILE]

1 449 stroke lesions, 157×189×136 voxels of 1 mm (cohort_stroke_soop in MONAI_CPIC_DATA, else ../shared/data), 1 to 400 000 voxels
large.  The field has three channels, the means of 3×3×3 voxels at the steps 1, 4 and 16.  Reported are the share of lesions of
which no voxel was encoded, the number of voxels encoded, and the correlation of the logarithms of the true volume and of its
estimate, for all lesions and for the smaller half.  Estimates are means of the nearest channel (over the scan, over the tensor
train, and over the scan with the tensor train as a control variate) and of the farthest one over the scan: the cubes of step 16
are larger than the cells, so that no lesion escapes them.  One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from monai_cpic.data import LazyVolume, open_volume
from monai_cpic.networks import (
    Decomposition,
    Encoder,
    RandomCells,
    SampledField,
    ScanCross,
    TensorizedDecomposition,
    TTBottleneck,
)
from monai_cpic.networks.decompositions.random_cells import DRAWS, cell_counts, points_in_cells
from monai_cpic.networks.decompositions.scan_cross import FINER
from monai_cpic.tensor_train import multi_indices, qtt_modes

DATA = Path(os.environ.get("MONAI_CPIC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
GRID = (160, 192, 144)  # of small prime factors
CHANNELS = 3
MODES = qtt_modes(GRID, CHANNELS, radix=4)


@dataclass(frozen=True)
class Method:
    """A decomposition and what of it is a scan.

    Args:
        decomposition: makes it.
        cells: of the scan in evaluation.
        draws: voxels of each of them that are read.
    """

    decomposition: Callable[[], Decomposition]
    cells: int
    draws: int


METHODS = {
    "scan and cross": Method(lambda: ScanCross(MODES), FINER * 512, 1),
    "scan and cross, 1024 cells, rank 6": Method(lambda: ScanCross(MODES, rank=6, cells=1024), FINER * 1024, 1),
    "4096 random voxels": Method(lambda: RandomCells(GRID, CHANNELS, cells=1024), 1024, DRAWS),
}


class Means(Encoder):
    """The mean of the patch at each step."""

    in_channels, n_dims, receptive_field, steps = 1, CHANNELS, 3, (1, 4, 16)

    def forward(self, patches: Tensor, positions: Tensor | None = None) -> Tensor:
        return patches.flatten(2).mean(2)


def lesion(path: Path) -> LazyVolume:
    """A lesion map in memory."""
    image: Any = nibabel.load(path)
    return open_volume(torch.from_numpy(np.asarray(image.dataobj, np.uint8))[None])


def estimates(bottleneck: TTBottleneck, found: SampledField, volume: LazyVolume, method: Method) -> dict[str, float]:
    """The share of the grid that a lesion fills."""
    relative = torch.cat([points_in_cells(cell_counts(GRID, method.cells), seed) for seed in range(method.draws)])
    points = (relative * torch.tensor(volume.shape[1:])).long()
    vectors = bottleneck.encoder(volume.gather(points, 3, steps=(1, 4, 16))).double()
    scanned = vectors[:, 0]
    share = float(torch.tensor(volume.shape[1:]).prod() / torch.tensor(GRID).prod())  # of the grid that the volume fills
    estimated = {"scan, near": share * scanned.mean().item(), "scan, far": share * vectors[:, -1].mean().item()}
    if isinstance(bottleneck.decomposition, TensorizedDecomposition):
        whole = bottleneck.decomposition.channel_means(found.trains)[0, 0].item()
        fitted = found.trains.evaluate(
            multi_indices(MODES, torch.cat([points, torch.zeros(len(points), 1, dtype=torch.int64)], 1))
        )[0]
        spread = fitted - fitted.mean()
        size = spread.square().sum()
        beta = float(((scanned - scanned.mean()) @ spread / size).clamp(0, 1)) if size > 0 else 0.0
        estimated["tensor train, near"] = whole
        estimated["control variate, near"] = share * scanned.mean().item() + beta * (whole - share * fitted.mean().item())
    return estimated


def correlation(estimated: Sequence[float], true: Sequence[float]) -> float:
    """Of the logarithms; an estimate of zero or less counts as half a voxel."""
    least = 0.5 / float(torch.tensor(GRID).prod())
    return float(np.corrcoef(np.log(np.maximum(estimated, least)), np.log(true))[0, 1])


def measure(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    """One method on all lesions."""
    method = METHODS[name]
    bottleneck = TTBottleneck(Means(), method.decomposition()).eval()
    missed = 0
    points: list[int] = []
    seconds: list[float] = []
    sizes: list[float] = []
    found: list[dict[str, float]] = []
    for path in tqdm(paths, desc=name, leave=False, disable=None):
        volume = lesion(path)
        mask = volume.gather(torch.tensor([[n // 2 for n in volume.shape[1:]]]), volume.shape[1:])[0, 0]
        start = time.process_time()
        with torch.no_grad():
            sampled = bottleneck([volume])
        seconds.append(time.process_time() - start)
        inside = bottleneck.sampled[0]
        inside = inside[(inside < torch.tensor(mask.shape)).all(1)]
        missed += not bool((mask[tuple(inside.T)] > 0).any())
        points.append(len(bottleneck.sampled[0]))
        sizes.append(float(mask.sum()))
        with torch.no_grad():
            found.append(estimates(bottleneck, sampled, volume, method))
    small = [k for k, size in enumerate(sizes) if size <= statistics.median(sizes)]
    volumes = {
        kind: {
            "all": correlation([one[kind] for one in found], sizes),
            "smaller half": correlation([found[k][kind] for k in small], [sizes[k] for k in small]),
        }
        for kind in found[0]
    }
    return {
        "method": name,
        "lesions": len(paths),
        "no voxel inside": missed / len(paths),
        "median voxels": statistics.median(points),
        "median seconds": statistics.median(seconds),
        "correlation of log volume": volumes,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1449, help="the first so many")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted((DATA / "cohort_stroke_soop" / "images").glob("*_lesion.nii.gz"))[: arguments.patients]
    if not paths:
        raise SystemExit(f"no lesions in {DATA}: set MONAI_CPIC_DATA")
    text = json.dumps({"threads": 1, "results": [measure(name, paths) for name in arguments.methods]}, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
