"""What the memory of a frozen encoder saves: patches that it encodes, and processor time, with and without.

    python tests/benchmarks/bench_frozen.py [--decompositions ...]

A training on 8 random fields of 64×64×64 voxels, without augmentation: 6 epochs of two steps; after every second epoch the
network is refreshed and predicts 4 scans.  The encoder is small, so that the seconds are mostly those of everything else.  Prints
a table; one thread.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from monai_cpic.data import open_volume
from monai_cpic.networks import (
    CPICNet,
    CrossApproximation,
    Curriculum,
    Decomposition,
    FrozenEncoder,
    IndexStore,
    PooledEncoder,
    PositionedEncoder,
    RandomCells,
    ScanCross,
)
from monai_cpic.tensor_train import qtt_modes

GRID, SCANS, EPOCHS, CHANNELS, CELLS = (64, 64, 64), 8, 6, 16, 512
DECOMPOSITIONS: dict[str, Callable[[], Decomposition]] = {
    "RandomCells": lambda: RandomCells(GRID, CHANNELS, CELLS),
    "Curriculum": lambda: Curriculum(RandomCells(GRID, CHANNELS, CELLS), scan_cross(), steps=round(0.7 * EPOCHS * 2)),
    "ScanCross": lambda: scan_cross(),
    "CrossApproximation": lambda: CrossApproximation(qtt_modes(GRID, CHANNELS, radix=4), rank=5),
    "CrossApproximation, hold 4": lambda: CrossApproximation(
        qtt_modes(GRID, CHANNELS, radix=4), rank=5, indices=IndexStore(hold=4)
    ),
}


def scan_cross() -> ScanCross:
    return ScanCross(qtt_modes(GRID, CHANNELS, radix=4), cells=CELLS)


def train(decomposition: Decomposition, encoder: FrozenEncoder) -> tuple[Counter[str], dict[str, float]]:
    """Encoded patches, and seconds of processor time, of the phases of a training."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(SCANS, 1, 16, 16, 16, generator=generator)
    dense = nn.functional.interpolate(coarse, GRID, mode="trilinear")
    scans = [replace(open_volume(values), key=str(number)) for number, values in enumerate(dense)]
    targets = 10 * dense.flatten(1).mean(1, keepdim=True)
    network = CPICNet(encoder=PositionedEncoder(encoder), decomposition=decomposition)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    patches, seconds, phases = Counter[str](), dict.fromkeys(("training", "evaluation"), 0.0), ["training"]

    def count(module: nn.Module, given: Any, vectors: Any) -> None:
        patches[phases[-1]] += len(vectors)

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        start = time.process_time()
        phases.append(name)
        yield
        seconds[name] += time.process_time() - start

    encoder.encoder.register_forward_hook(count)
    for epoch in range(EPOCHS):
        with phase("training"):
            network.train()
            for rows in torch.randperm(SCANS, generator=generator).split(4):
                loss = nn.functional.mse_loss(network([scans[row] for row in rows]), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        if epoch % 2:
            with phase("evaluation"), torch.no_grad():
                network.refresh((scans[first : first + 4], targets[first : first + 4], None) for first in (0, 4))
                network.eval()(scans[:4])
    return patches, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decompositions", nargs="+", choices=DECOMPOSITIONS, default=list(DECOMPOSITIONS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| decomposition | MiB | patches, training | patches, evaluation | s, training | s, evaluation |")
    print("|---" * 6 + "|")
    for name in given.decompositions:
        for limit in (0.0, 1024.0):
            torch.manual_seed(1)
            encoder = FrozenEncoder(PooledEncoder(n_dims=64), CHANNELS, limit)
            patches, seconds = train(DECOMPOSITIONS[name](), encoder)
            kept = encoder.memory.bytes / 2**20
            counts = f"{patches['training']:,} | {patches['evaluation']:,}"
            print(f"| {name} | {kept:.1f} | {counts} | {seconds['training']:.1f} | {seconds['evaluation']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
