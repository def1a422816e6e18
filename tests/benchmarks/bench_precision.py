"""Features of a real scan in float32 and under bf16 autocast beside those in float64.

    python tests/benchmarks/bench_precision.py [--steps 200] [--json FILE]

The scan is the chest CT LIDC-IDRI-0314, window −1000…400 HU, in eight versions: flipped along each of its axes or not.  The
default network learns in float32 to tell the versions apart, and is then evaluated with the same weights in each precision.  A
difference is the largest over features and versions of the distance to float64, in units of the standard deviation of the
feature over the versions.
"""

from __future__ import annotations

import argparse
import copy
import functools
import itertools
import json
import os
import statistics
import tarfile
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from monai.transforms import ScaleIntensityRange
from torch import Tensor

from monai_cpic.data import LazyVolume, Sampling, open_volume
from monai_cpic.networks import CPICNet
from monai_cpic.networks.decompositions import scan_cross
from monai_cpic.tensor_train import cross_approximate


def main() -> None:
    """Train, evaluate in each precision, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MONAI_CPIC_DATA"), help="folder of the real scans")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(next((arguments.data / "chest_ct_lidc0314").glob("*.tar.xz"))) as archive:
            archive.extractall(folder, filter="data")
        scan = open_volume(Path(folder) / "data", cache_dir=Path(folder) / "cache")
        rows = measure(versions(scan.scaled(ScaleIntensityRange(-1000, 400, 0, 1, clip=True))), arguments.steps)
    for name, row in rows.items():
        print(name, " ".join(f"{key} {value:.2e}" for key, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def versions(scan: LazyVolume) -> list[LazyVolume]:
    """The scan, flipped along each of its axes or not."""
    shape = scan.shape[1:]
    turned = []
    for signs in itertools.product((1, -1), repeat=3):
        matrix = np.diag([*map(float, signs), 1.0])
        matrix[:-1, -1] = [0 if sign > 0 else edge - 1 for sign, edge in zip(signs, shape, strict=True)]
        turned.append(scan.sampled(Sampling(matrix, shape)))
    return turned


def measure(scans: list[LazyVolume], steps: int) -> dict[str, dict[str, float]]:
    """Differences to float64 of means and maxima of the channels, by precision."""
    torch.manual_seed(0)
    shape = tuple(1 << (edge - 1).bit_length() for edge in scans[0].shape[1:])
    network = CPICNet(spatial_shape=shape, out_channels=3)
    target = torch.tensor(list(itertools.product((1.0, -1.0), repeat=3)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005)
    losses = []
    for step in range(steps):
        chosen = torch.randperm(len(scans), generator=torch.Generator().manual_seed(step))[:4]
        loss = (network.train()([scans[b] for b in chosen]) - target[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    half = torch.autocast("cpu", torch.bfloat16)
    single = functools.partial(cross_approximate, dtype=torch.float32)
    exact = features(copy.deepcopy(network).double(), scans)
    ways: dict[str, tuple[CPICNet, AbstractContextManager[object]]] = {
        "float32": (network, nullcontext()),
        "float32, tensor trains too": (network, patch.object(scan_cross, "cross_approximate", single)),
        "bf16 autocast": (network, half),
    }
    rows = {"training": {"first loss": statistics.mean(losses[:10]), "last loss": statistics.mean(losses[-10:])}}
    for name, (way, context) in ways.items():
        with context:
            found = features(way, scans)
        rows[name] = {
            part: float(((a - b).abs() / b.std(0, correction=0)).max()) for part, a, b in zip(PARTS, found, exact, strict=True)
        }
    return rows


PARTS = ("means", "maxima", "outputs")


@torch.no_grad()
def features(network: CPICNet, scans: list[LazyVolume]) -> tuple[Tensor, Tensor, Tensor]:
    """Means, maxima and outputs of every version."""
    fields = [network.eval().bottleneck([scan]) for scan in scans]
    outputs = torch.cat([network([scan]) for scan in scans])
    return torch.cat([field.means for field in fields]), torch.cat([field.maxima for field in fields]), outputs.double()


if __name__ == "__main__":
    main()
