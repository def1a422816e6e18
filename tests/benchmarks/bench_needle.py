"""Is a small ball found in a large grid?  Seeded cross-approximation against random cells and random starts.

    python tests/benchmarks/bench_needle.py [--edges 256 512] [--radius 6] [--visible 16] [--tries 20] [--json FILE]

The field is a soft ball, visible some voxels around, in uniform noise of a tenth of its height on either side; nothing is
learned.  A try counts as found if a point inside the ball was asked for; enrichment is the share of points inside the ball in
units of the ball's share of the grid.  One thread.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from monai_cpic.data import open_function
from monai_cpic.networks import CrossApproximation, Decomposition, RandomCells, ScanCross, TTBottleneck, VoxelEncoder
from monai_cpic.tensor_train import qtt_modes

NOISE = 0.1
METHODS: dict[str, Callable[[Sequence[int]], Decomposition]] = {
    "scan and cross": lambda shape: ScanCross(qtt_modes(shape, radix=4)),
    "scan and cross, binary modes, rank 6": lambda shape: ScanCross(qtt_modes(shape), rank=6),
    "cross from random starts, rank 10, 3 sweeps": lambda shape: CrossApproximation(qtt_modes(shape), rank=10, passes=3),
    "4096 random voxels": lambda shape: RandomCells(shape, 1, cells=1024),  # an evaluation takes four in each cell
}


@dataclass(frozen=True)
class SoftBall:
    """Values of a ball in noise, by voxel.

    Args:
        centre: of the ball.
        radius: in voxels.
        visible: how far around it shows, in voxels.
    """

    centre: tuple[int, ...]
    radius: float
    visible: float

    def distance(self, *indices: NDArray[Any]) -> NDArray[Any]:
        """From the centre, in voxels."""
        return np.sqrt(sum((index - centre) ** 2.0 for index, centre in zip(indices, self.centre, strict=True)))

    def __call__(self, *indices: NDArray[Any]) -> NDArray[Any]:
        """Values of voxels, about 0 … 1."""
        mixed = sum(index * prime for index, prime in zip(indices, (73856093, 19349663, 83492791), strict=True))
        noise = (mixed * 2654435761) % 2**31 / 2**30 - 1
        return 1 / (1 + np.exp((self.distance(*indices) - self.radius) / self.visible)) + NOISE * noise


def search(make: Callable[[Sequence[int]], Decomposition], edge: int, radius: float, visible: float, seed: int) -> dict[str, Any]:
    """One try."""
    generator = torch.Generator().manual_seed(seed)
    centre = tuple(int(torch.randint(int(radius), edge - int(radius), (), generator=generator)) for _ in range(3))
    ball = SoftBall(centre, radius, visible)
    bottleneck = TTBottleneck(VoxelEncoder(1), make((edge,) * 3)).eval()
    start = time.process_time()
    with torch.no_grad():
        bottleneck([open_function(ball, (1, edge, edge, edge))])
    seconds = time.process_time() - start
    points = bottleneck.sampled[0]
    share = float((ball.distance(*points.T.numpy()) < radius).mean())
    return {"points": len(points), "enrichment": share * edge**3 / (4 / 3 * math.pi * radius**3), "seconds": seconds}


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--radius", type=float, default=6.0)
    parser.add_argument("--visible", type=float, default=16.0)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: list[dict[str, Any]] = []
    for edge in arguments.edges:
        for name, make in METHODS.items():
            seeds = tqdm(range(arguments.tries), desc=f"{edge}³, {name}", leave=False, disable=None)
            tries = [search(make, edge, arguments.radius, arguments.visible, seed) for seed in seeds]
            results.append(
                {
                    "edge": edge,
                    "method": name,
                    "found": sum(one["enrichment"] > 0 for one in tries),
                    "tries": len(tries),
                    "median enrichment": statistics.median(one["enrichment"] for one in tries),
                    "median points": statistics.median(one["points"] for one in tries),
                    "median seconds": statistics.median(one["seconds"] for one in tries),
                }
            )
    text = json.dumps({"threads": 1, "radius": arguments.radius, "visible": arguments.visible, "results": results}, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
