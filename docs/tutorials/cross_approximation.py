"""Tutorial: a function on a grid and a chest CT as tensor trains, in pictures.

    python docs/tutorials/cross_approximation.py [--ct FOLDER_OF_A_DICOM_SERIES] [--output docs/images]

Without ``--ct`` only the function is drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

from monai_cpic.data import open_volume
from monai_cpic.tensor_train import TensorTrain, cross_approximate, qtt_modes

matplotlib.use("Agg")
from matplotlib import pyplot


def approximate(dense: Tensor, rank: int) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Reconstructions of a dense array ``[*shape]``, and the points at which each way asked for values."""
    # 1. Modes factorise the grid for a tensor train: here one mode for every binary digit of every axis.
    modes = qtt_modes(dense.shape)

    # 2. A field is a function of coordinates: here it looks up values; in CPICNet it runs an encoder at these points.
    asked: list[Tensor] = []

    def field(coordinates: Tensor) -> Tensor:
        points = coordinates[..., : dense.ndim]  # the last column is the channel
        asked.append(points[0])
        return dense[points.unbind(-1)]

    # 3. TT-SVD, the nearly best approximation of its rank, reads every value; the others read a few.
    results: dict[str, tuple[Tensor, Tensor | None]] = {
        "original": (dense, None),
        "TT-SVD": (to_grid(TensorTrain.from_dense(dense[None], modes, rank), dense), None),
    }
    for name, options in {
        "plain cross": {"oversampling": 1.0, "passes": 4, "completion": 0},
        "two sweeps, 1.5 r rows": {"completion": 0},
        "with completion (default)": {},
    }.items():
        asked.clear()
        train, _ = cross_approximate(field, modes, rank, **options)
        results[name] = (to_grid(train, dense), torch.cat(asked).unique(dim=0))
    return results


def to_grid(train: TensorTrain, dense: Tensor) -> Tensor:
    """All values; binary digits axis by axis, most significant first, are in the order of the grid."""
    return train.to_dense().reshape(dense.shape)


def draw(dense: Tensor, rank: int, path: Path, title: str) -> None:
    """One picture: every reconstruction, and the points below it; of a volume the middle slice and all points seen along it."""
    results = approximate(dense, rank)
    figure, rows = pyplot.subplots(2, len(results), figsize=(3 * len(results), 6.4), layout="constrained")
    centred = dense - dense.mean()
    for (name, (values, points)), (above, below) in zip(results.items(), rows.T, strict=True):
        error = ((values - dense).norm() / centred.norm()).item()
        picture = values[len(values) // 2] if values.ndim == 3 else values
        above.imshow(picture.numpy(), cmap="gray", vmin=float(dense.min()), vmax=float(dense.max()))
        above.set_title(name if points is None and error == 0 else f"{name}\nerror {error:.2g}")
        if points is not None:
            below.plot(points[:, -1], points[:, -2], ",", color="tab:red")
            below.set(xlim=(0, dense.shape[-1]), ylim=(dense.shape[-2], 0), aspect="equal")
            below.set_title(f"{len(points)} of {dense.numel()} values")
        for axes in (above, below):
            axes.set(xticks=[], yticks=[])
            axes.axis("on" if axes is above or points is not None else "off")
    figure.suptitle(f"{title}, rank {rank}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
    print(path)


def function_on_a_grid() -> Tensor:
    """Rings, 256 x 256."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 256, dtype=torch.double)] * 2, indexing="ij")
    return torch.cos(12 * (x**2 + 1.3 * y**2).sqrt()) * torch.exp(-2 * (x - 0.2) ** 2 - y**2)


def chest_ct(folder: Path) -> Tensor:
    """A DICOM series, slices first, window -1000 … 400 HU scaled to 0 … 1, resampled to 64 x 256 x 256."""
    volume = open_volume(folder)
    shape = torch.tensor(volume.shape[1:])
    hounsfield = volume.gather((shape // 2)[None], shape.tolist())
    scaled = ((hounsfield + 1000) / 1400).clamp(0, 1).permute(0, 1, 4, 3, 2)
    return torch.nn.functional.interpolate(scaled, (64, 256, 256), mode="trilinear")[0, 0].double()


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    draw(function_on_a_grid(), 6, arguments.output / "cross_function.png", "A function on a grid of 256 x 256")
    if arguments.ct:
        draw(chest_ct(arguments.ct), 10, arguments.output / "cross_ct.png", "A chest CT of 64 x 256 x 256, middle slice")


if __name__ == "__main__":
    main()
