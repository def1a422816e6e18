"""A bundle, run as its user runs it, on a tiny simulated cohort."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow, verify_metadata, verify_net_in_out

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class BundleRun:
    """One bundle, with the settings of its tests.

    Args:
        name: its folder.
        simulation: settings of the cohort.
        network: settings of every run.
    """

    name: str
    simulation: Mapping[str, Any]
    network: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The folder."""
        return REPOSITORY / "bundles" / self.name

    def __call__(self, *names: str, dataset_dir: Path, output_dir: Path, **options: object) -> subprocess.CompletedProcess[str]:
        """Run configurations in a process of their own."""
        files = [str(self.root / "configs" / f"{name}.yaml") for name in names]
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root", str(self.root)]
        options = {"dataset_dir": dataset_dir, "output_dir": output_dir, **self.network, **options}
        if "train" in names:
            options = {"simulation": dict(self.simulation), **options}
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def succeed(self, *names: str, dataset_dir: Path, output_dir: Path, **options: object) -> None:
        """Run, and fail with what it said."""
        finished = self(*names, dataset_dir=dataset_dir, output_dir=output_dir, **options)
        assert finished.returncode == 0, finished.stderr[-3000:]

    def pass_monais_own_checks(self, cohort: Path, **options: object) -> None:
        """Properties, metadata, and the network's input and output."""
        configs = self.root / "configs"
        metadata = str(configs / "metadata.json")
        for name, kind in (("train", "train"), ("inference", "infer")):
            workflow = ConfigWorkflow(
                str(configs / f"{name}.yaml"),
                metadata,
                logging_file=False,
                workflow_type=kind,
                bundle_root=str(self.root),
                dataset_dir=str(cohort),
                model="untrained",
                simulation=self.simulation,
                **options,
            )
            workflow.initialize()
            assert not workflow.check_properties()
        verify_metadata(metadata, str(REPOSITORY / "tests" / "bundles" / "metadata_schema.json"))
        for name in ("train", "inference"):
            verify_net_in_out("network_def", metadata, str(configs / f"{name}.yaml"), device="cpu")
