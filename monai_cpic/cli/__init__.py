"""The command ``monai-cpic``: the bundles, simulated cohorts and the cache, without a path to a configuration."""

from monai_cpic.cli.main import main

__all__ = ["main"]
