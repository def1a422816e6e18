"""Does a training ever meet a number that is not finite?  2 000 steps on random, constant and adversarial scans.

    python tests/benchmarks/bench_robustness.py [--steps 2000] [--networks ...] [--json FILE]

Batches of four scans of 16×16×8, each batch of one kind of :data:`KINDS`; every tenth is the one of eight random batches whose
gradient is largest, at that step's weights.  No exception is caught, no step left out, no gradient clipped.  After each step
the outputs, the loss, all gradients, parameters and buffers are looked at.  One thread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from alignment import AlignedLoss
from torch import Tensor, nn
from tqdm import trange

from monai_cpic.data import ArraySource, LazyVolume
from monai_cpic.networks import CPICNet, paper_net, random_cells_net

SHAPE, BATCH = (16, 16, 8), 4

KINDS: dict[str, Callable[[], Tensor]] = {
    "noise": lambda: torch.randn(SHAPE),
    "noise of 1e6": lambda: 1e6 * torch.randn(SHAPE),
    "noise of 1e-20": lambda: 1e-20 * torch.randn(SHAPE),
    "zeros": lambda: torch.zeros(SHAPE),
    "a constant": lambda: torch.full(SHAPE, float(torch.randn(()))),
    "a constant of 1e8": lambda: torch.full(SHAPE, 1e8),
    "one voxel": lambda: torch.zeros(SHAPE).index_put(tuple(torch.randint(n, (1,)) for n in SHAPE), torch.tensor(1e4)),
    "checkerboard": lambda: 1.0 - 2.0 * (torch.stack(torch.meshgrid(*map(torch.arange, SHAPE), indexing="ij")).sum(0) % 2),
    "repeated slices": lambda: torch.randn(SHAPE[0], 1, 1).expand(SHAPE).clone(),
    "rank one": lambda: torch.einsum("i,j,k->ijk", *(torch.randn(n) for n in SHAPE)),
    "half empty": lambda: torch.randn(SHAPE) * (torch.arange(SHAPE[0]) < 8)[:, None, None],
    "heavy tails": lambda: torch.distributions.Cauchy(0.0, 1.0).sample(SHAPE),
}

NETWORKS: dict[str, Callable[[], CPICNet]] = {
    "the default, scan and cross": lambda: CPICNet(SHAPE),
    "random cells": lambda: random_cells_net(SHAPE, n_dims=8),
    "cross, 1.5-fold oversampling, aligned": lambda: paper_net(SHAPE, n_dims=8, rank=4, oversampling=1.5),
    "cross, the paper's": lambda: paper_net(SHAPE, n_dims=8, rank=4),
}


def scans(kind: str, identical: bool, step: int) -> list[LazyVolume]:
    """A batch; every other one has keys, so that its scans' index sets come back with other contents."""
    first = KINDS[kind]()
    values = [first if identical else KINDS[kind]() for _ in range(BATCH)]
    keys = [str(place) if step % 2 else None for place in range(BATCH)]
    affine = torch.eye(4, dtype=torch.float64)
    return [LazyVolume(ArraySource(value[None].numpy()), affine, key) for value, key in zip(values, keys, strict=True)]


def gradient(
    network: CPICNet, loss_function: nn.Module, volumes: list[LazyVolume], target: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Outputs, loss and the norm of the gradient, which stays in the parameters."""
    network.zero_grad()
    output = network(volumes)
    loss = loss_function(output, target)
    loss.backward()
    norm = torch.stack([parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]).norm()
    return output, loss, float(norm)


def train(name: str, steps: int) -> dict[str, Any]:
    """One training, and what it met."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    loss_function = AlignedLoss(nn.MSELoss(), network.bottleneck) if "aligned" in name else nn.MSELoss()
    optimizer = torch.optim.RAdam(network.parameters(), lr=1e-3)
    network.train()
    kinds, log, bad = list(KINDS), [], 0
    for step in trange(steps, desc=name):
        target = torch.randn(BATCH, 1) if step % 5 else torch.full((BATCH, 1), 100.0)
        candidates = [scans(kinds[step % len(kinds)], identical=step % 7 == 0, step=step)]
        if step % 10 == 9:
            names = [kinds[int(torch.randint(len(kinds), ()))] for _ in range(8)]
            candidates = [scans(kind, identical=False, step=step) for kind in names]
            sizes = [gradient(network, loss_function, volumes, target)[2] for volumes in candidates]
            candidates = [candidates[sizes.index(max(sizes))]]
        output, loss, norm = gradient(network, loss_function, candidates[0], target)
        optimizer.step()
        tensors = [output, loss, *network.state_dict().values(), *(p.grad for p in network.parameters() if p.grad is not None)]
        bad += sum(not bool(tensor.isfinite().all()) for tensor in tensors)
        log.append((loss.item(), norm))
    parts = [log[i : i + steps // 10] for i in range(0, steps, steps // 10)]
    return {
        "steps": steps,
        "tensors that are not finite": bad,
        "median loss of each tenth": [torch.tensor(part)[:, 0].median().item() for part in parts],
        "largest gradient of each tenth": [torch.tensor(part)[:, 1].max().item() for part in parts],
    }


def main() -> None:
    """Train each network and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in arguments.networks:
        results[name] = train(name, arguments.steps)
        text = json.dumps(results, indent=2, ensure_ascii=False)
        print(text, flush=True)
        if arguments.json:
            arguments.json.write_text(text)


if __name__ == "__main__":
    main()
