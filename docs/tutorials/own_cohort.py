"""Tutorial: your own cohort, from a table of scans to predictions of new patients.

    python docs/tutorials/own_cohort.py [--patients 50] [--epochs 10] [--output docs/images/own_cohort.png]

The script makes scans of an organ of random size and shape, and a table with its volume, as you would have them of patients. It
trains on four fifths of the table, predicts ten new patients, and draws their predictions with the interval from the 20 % to the
80 % quantile:

![Predicted against true volumes of ten new patients](../images/own_cohort.png)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib
import nibabel
import numpy as np
import pandas as pd

from monai_cpic.cli import main as monai_cpic

matplotlib.use("Agg")
from matplotlib import pyplot

SPACING = 2.0  # mm


def scan(generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """A scan of 32 x 32 x 24 voxels, and the volume of its organ in ml."""
    radii = generator.uniform(12, 22, 3)  # mm
    centre = generator.uniform(-6, 6, 3)
    axes = np.meshgrid(*[SPACING * (np.arange(n) - n / 2) for n in (32, 32, 24)], indexing="ij")
    inside = sum(((axis - place) / radius) ** 2 for axis, place, radius in zip(axes, centre, radii, strict=True)) < 1
    return (100 + 60 * inside + generator.normal(0, 10, inside.shape)).astype(np.int16), 4 / 3 * np.pi * radii.prod() / 1000


def write_cohort(folder: Path, patients: int, seed: int) -> Path:
    """Scans as NIfTI files, and a table that names them: one row for each patient."""
    generator, rows = np.random.default_rng(seed), []
    (folder / "scans").mkdir(parents=True)
    for number in range(patients):
        voxels, volume = scan(generator)
        path = f"scans/p{number:02}.nii.gz"  # relative to the table
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([SPACING] * 3 + [1])), folder / path)
        rows.append({"patient": f"p{number:02}", "mri": path, "volume": round(volume, 2)})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def draw(predicted: pd.DataFrame, true: pd.Series, output: Path) -> None:
    """Medians and intervals against the truth."""
    figure, axes = pyplot.subplots(figsize=(4.5, 4), layout="constrained")
    below, above = predicted["volume"] - predicted["q20"], predicted["q80"] - predicted["volume"]
    axes.errorbar(true, predicted["volume"], [below, above], fmt="o", capsize=3)
    axes.axline((true.mean(), true.mean()), slope=1, color="grey", linewidth=1)
    axes.set(xlabel="true volume, ml", ylabel="predicted volume, ml", title="Ten new patients")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=80)
    pyplot.close(figure)


def main() -> None:
    """Make a cohort, train, predict, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("docs/images/own_cohort.png"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        # 1. The table of your cohort, and ten patients who come later.
        table = write_cohort(folder / "cohort", arguments.patients, seed=0)
        new = write_cohort(folder / "new", 10, seed=1)

        # 2. monai-cpic train table.csv --image mri --target volume --epochs 10 -o runs
        words = ["train", table, "--image", "mri", "--target", "volume", "--epochs", arguments.epochs, "-o", folder / "runs"]
        monai_cpic([str(word) for word in words], standalone_mode=False)

        # 3. monai-cpic predict runs/model.pt new.csv
        monai_cpic(["predict", str(folder / "runs" / "model.pt"), str(new)], standalone_mode=False)

        # 4. Predictions are a table in the order of yours.
        predicted = pd.read_csv(folder / "runs" / "inference" / "predictions.csv")
        print(predicted[["patient", "volume", "q20", "q80", "warning"]].to_string(index=False))
        draw(predicted, pd.read_csv(new)["volume"], arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
