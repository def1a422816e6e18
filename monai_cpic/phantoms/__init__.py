"""Simulated cohorts in the on-disk layouts of the public ones, with a known truth."""

from monai_cpic.phantoms.brats import ensure_brats, simulate_brats
from monai_cpic.phantoms.osic import ensure_osic, simulate_osic

__all__ = ["ensure_brats", "ensure_osic", "simulate_brats", "simulate_osic"]
