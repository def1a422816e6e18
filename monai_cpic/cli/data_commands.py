"""Simulated cohorts, and the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from monai_cpic.cli.command import Command

__all__ = ["cache", "simulate"]


@click.command(cls=Command)
@click.argument("cohort", type=click.Choice(["osic", "brats", "needle"]))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--patients", default=40, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--resolution", default=1.0, show_default=True, help="Factor of the number of voxels along each axis.")
def simulate(cohort: str, folder: Path, patients: int, seed: int, resolution: float) -> None:
    """Write a simulated cohort into a new FOLDER.

    osic: CT and lung function, in the layout of the OSIC download; brats: brain MRI and survival, in that of BraTS 2020; needle:
    a small ball and a score, as a table for "monai-cpic train".
    """
    from monai_cpic.phantoms import BraTSSimulation, NeedleSimulation, OSICSimulation, Simulation

    kinds: dict[str, Callable[[int, int, float], Simulation]]
    kinds = {"osic": OSICSimulation, "brats": BraTSSimulation, "needle": NeedleSimulation}
    written = kinds[cohort](patients, seed, resolution).write(folder)
    click.echo(f"{written} holds {patients} simulated patients.")


@click.command(cls=Command)
@click.option("--size", "action", flag_value="size", default=True, help="Say how large it is (the default).")
@click.option("--clear", "action", flag_value="clear", help="Empty it; nothing may be using it.")
def cache(action: str) -> None:
    """The cache of unpacked scans.

    DICOM, .nii.gz, MetaImage and NRRD are unpacked once.  MONAI_CPIC_CACHE names another folder, MONAI_CPIC_CACHE_LIMIT (GiB)
    bounds it.
    """
    from monai_cpic.data.cache.limit import clear, size
    from monai_cpic.data.cache.unpacked import cache_folder

    folder = cache_folder()
    if action == "clear":
        click.echo(f"{clear(folder) / 2**30:.2f} GiB removed from {folder}.")
    click.echo(f"{folder} holds {size(folder) / 2**30:.2f} GiB.")
