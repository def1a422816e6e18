"""Simulated cohorts in the on-disk layouts of the public ones, with a known truth.

``python -m monai_cpic.phantoms osic DIR --patients 40 --seed 0`` writes a cohort in the layout of OSIC; ``brats`` in place of
``osic`` writes one in the layout of BraTS.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from monai_cpic.phantoms import BraTSSimulation, OSICSimulation


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: ``python -m monai_cpic.phantoms osic|brats DIR [--patients N] [--seed N]``."""
    parser = argparse.ArgumentParser(prog="python -m monai_cpic.phantoms", description=__doc__)
    cohorts = parser.add_subparsers(dest="cohort", required=True)
    osic = cohorts.add_parser("osic", help="CT scans and lung function over time, in the layout of the OSIC download")
    brats = cohorts.add_parser("brats", help="brain MRI and survival, in the layout of the BraTS 2020 download")
    for cohort in (osic, brats):
        cohort.add_argument("dataset_dir", type=Path, help="folder to create")
        cohort.add_argument("--patients", type=int, default=40)
        cohort.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    simulation = {"osic": OSICSimulation, "brats": BraTSSimulation}[asked.cohort]
    print(simulation(asked.patients, asked.seed).write(asked.dataset_dir))


if __name__ == "__main__":
    main()
