"""Tutorial: scan, seeds and cross, in pictures.

    python docs/tutorials/scan_and_cross.py [--output docs/images/scan_and_cross.png]

Something small and bright lies in a noisy picture. From random indices, cross-approximation spreads its points over the picture,
and may or may not come across it. A coarse scan that sees a little further than one pixel tells it where to begin.

![The scan, its seeds, and the points of the cross that starts from them](../images/scan_and_cross.png)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

from monai_cpic.tensor_train import cross_approximate, initial_indices, qtt_modes

matplotlib.use("Agg")
from matplotlib import pyplot

SIZE, CELL, RANK = 128, 8, 4


def picture(generator: torch.Generator) -> Tensor:
    """Noise, and a disc with a radius of 4 pixels."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return 0.15 * torch.randn(SIZE, SIZE, generator=generator) + ((y - 37) ** 2 + (x - 86) ** 2 < 16).float()


def latent_field(image: Tensor) -> Tensor:
    """What an encoder of near and far patches sees: means of the pixel's surroundings, 3 and 17 pixels wide."""
    near, far = (torch.nn.functional.avg_pool2d(image[None], width, 1, width // 2)[0] for width in (3, 17))
    return (near + 4 * far).double()


def draw(output: Path) -> None:
    """One picture of four panels."""
    generator = torch.Generator().manual_seed(0)
    image = picture(generator)
    values = latent_field(image)

    # 1. The scan: one random point in each cell of a coarse partition.
    corners = torch.cartesian_prod(*[torch.arange(0, SIZE, CELL)] * 2)
    scan = corners + torch.randint(CELL, corners.shape, generator=generator)

    # 2. The seeds: its points with the largest values. A point has a third coordinate, the channel of the field.
    best = scan[values[scan.unbind(1)].topk(RANK).indices]
    seeds = torch.cat([best, torch.zeros(RANK, 1, dtype=torch.int64)], 1)[None]

    # 3. The cross: a tensor train from the points that two sweeps ask for, from random indices and from the seeds.
    modes = qtt_modes((SIZE, SIZE), radix=4)
    asked: list[Tensor] = []

    def field(points: Tensor) -> Tensor:
        asked.append(points[0, :, :2])
        return values[points[..., 0], points[..., 1]]

    crosses = {}
    for name, start in {"from random indices": None, "from the seeds": seeds}.items():
        asked.clear()
        indices = initial_indices(modes, RANK, seeds=start)
        cross_approximate(field, modes, RANK, passes=2, completion=0, indices=indices)
        crosses[f"cross {name}"] = torch.cat(asked).unique(dim=0)

    panels = {"the picture": None, "scan, and its seeds": scan, **crosses}
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3 * len(panels), 3.7), layout="constrained")
    for axis, (name, points) in zip(axes, panels.items(), strict=True):
        axis.imshow(image.numpy(), cmap="gray")
        if points is not None:
            axis.plot(*points.flip(1).T.numpy(), ".", markersize=3, color="tab:orange")
            name = f"{name}\n{len(points)} of {SIZE * SIZE} points"
        axis.set(xticks=[], yticks=[], title=name)
    axes[1].plot(*best.flip(1).T.numpy(), "o", markersize=8, fillstyle="none", color="tab:red")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=80)
    pyplot.close(figure)
    for name, points in crosses.items():
        near = ((points - torch.tensor([37, 86])) ** 2).sum(1) < 16
        print(f"{name}: {int(near.sum())} of {len(points)} points in the disc")
    print(output)


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images/scan_and_cross.png"))
    draw(parser.parse_args().output)


if __name__ == "__main__":
    main()
