"""Simulated cohorts in the on-disk layouts of the public ones, with a known truth."""

from monai_cpic.phantoms.brats import BraTSSimulation
from monai_cpic.phantoms.needle import NeedleSimulation
from monai_cpic.phantoms.osic import OSICSimulation
from monai_cpic.phantoms.simulation import Simulation

__all__ = ["BraTSSimulation", "NeedleSimulation", "OSICSimulation", "Simulation"]
