"""Does CPICNet learn what a scan shows?  Two dimensions, a few minutes on one thread.

    python tests/benchmarks/bench_texture.py [--seed 0] [--epochs 12] [--oversampling 1.5] [--alignment 1.0]

The target is how much of two ellipses ("lungs") is covered by a texture that leaves their mean unchanged.  Prints one JSON
object: the test R² of the network and of a cross-validated ridge regression on its features, every second epoch.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from alignment import AlignedLoss
from torch import Tensor
from tqdm import trange

from monai_cpic.data import ArraySource, LazyVolume
from monai_cpic.networks import SampledField, paper_net

SIZE, BATCH = 64, 32


def cohort(count: int, seed: int) -> tuple[list[LazyVolume], Tensor]:
    """``count`` images and the covered fraction of each."""
    random = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    covered = torch.rand(count, generator=random)
    volumes = []
    for number, fraction in enumerate(covered.tolist()):
        wobble = 1 + 0.1 * (torch.rand(8, generator=random) - 0.5)
        image = 0.6 * ((columns / (0.85 * wobble[0])).square() + (rows / (0.65 * wobble[1])).square() < 1)
        for side in (0, 1):
            centre = (0.4 if side else -0.4) * wobble[2 + side]
            radius = ((columns - centre) / (0.28 * wobble[4 + side])).square() + (rows / (0.45 * wobble[6 + side])).square()
            texture = 0.25 * torch.randn(SIZE, SIZE, generator=random)
            image = torch.where(radius < 1, 0.15 + texture * (radius > 1 - 0.8 * fraction), image)
        image += 0.02 * torch.randn(SIZE, SIZE, generator=random)
        volumes.append(LazyVolume(ArraySource(image[None].numpy()), torch.eye(3, dtype=torch.float64), key=f"{seed}/{number}"))
    return volumes, covered


def r_squared(prediction: Tensor, target: Tensor) -> float:
    """Share of the target's variance that is explained."""
    return 1 - ((prediction - target).square().mean() / target.var(correction=0)).item()


def probe(features: Tensor, target: Tensor, folds: int = 8) -> float:
    """R² of ridge regression, each sample predicted from the other folds."""
    target, fold = target.double(), torch.arange(len(target)) % folds
    prediction = torch.empty_like(target)
    for k in range(folds):
        known, mean = features[fold != k], target[fold != k].mean()
        normal = known.mT @ known + torch.eye(features.shape[1], dtype=features.dtype)
        prediction[fold == k] = features[fold == k] @ torch.linalg.solve(normal, known.mT @ (target[fold != k] - mean)) + mean
    return r_squared(prediction, target)


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--oversampling", type=float, default=1.5)
    parser.add_argument("--alignment", type=float, default=1.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    train, target = cohort(256, 2 * arguments.seed + 1)
    test, test_target = cohort(128, 2 * arguments.seed + 2)
    network = paper_net((SIZE, SIZE), n_dims=4, oversampling=arguments.oversampling)
    loss_function = AlignedLoss(torch.nn.MSELoss(), network.bottleneck, arguments.alignment)
    optimizer = torch.optim.RAdam(network.parameters(), lr=3e-3)
    start, curve = time.perf_counter(), []
    for epoch in trange(1, arguments.epochs + 1):
        network.train()
        for batch in torch.randperm(len(train)).split(BATCH):
            prediction = network([train[i] for i in batch])[:, 0]
            loss = loss_function(prediction, (target[batch] - target.mean()) / target.std())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        if epoch % 2 == 0:
            network.eval()
            with torch.no_grad():
                known = SampledField.cat([network.bottleneck(train[i : i + BATCH]) for i in range(0, len(train), BATCH)])
                network.projection.refresh(known[: network.projection.capacity])
                prediction = torch.cat([network(test[i : i + BATCH]) for i in range(0, len(test), BATCH)])[:, 0]
                found = {
                    "epoch": epoch,
                    "test_r2": r_squared(prediction * target.std() + target.mean(), test_target),
                    "probe_r2": probe(network.projection(known), target),
                }
                curve.append(found)
    print(json.dumps({**vars(arguments), "threads": 1, "seconds": time.perf_counter() - start, "curve": curve}, indent=2))


if __name__ == "__main__":
    main()
