"""A bundle, run as its user runs it, on a tiny simulated cohort."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import monai.bundle
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

from monai_cpic.handlers import OutputFolder, TrainingSaver, checkpoints
from monai_cpic.model_files import read_model, write_model

REPOSITORY = Path(__file__).resolve().parents[2]
KILL = """
+imports:
- $import signal
- $from ignite.engine import Events
first: $os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'
killer: '$lambda: os.kill(os.getpid(), signal.SIGKILL) if dist.get_rank() and @first else None'
+initialize:
- $@train::trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), @killer) # of the second epoch: the first one is saved
"""
ALL_FOLDS: dict[str, Any] = {"n_folds": 2, "max_epochs": 1, "val_interval": 1}


@dataclass(frozen=True)
class Outputs:
    """The files of a run.

    Args:
        folder: that holds them.
    """

    folder: Path

    @property
    def model(self) -> Path:
        """The weights."""
        return self.folder / "model.pt"

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json."""
        metrics: dict[str, Any] = json.loads((self.folder / "metrics.json").read_text())
        return metrics

    @property
    def predictions(self) -> pd.DataFrame:
        """predictions.csv; NA is a text."""
        return pd.read_csv(self.folder / "predictions.csv", keep_default_na=False, na_values=[""])

    @property
    def pictures(self) -> int:
        """How many the report has."""
        return (self.folder / "report.html").read_text().count("data:image/png")


@dataclass(frozen=True)
class BundleRun:
    """One bundle, with the settings of its tests.

    Args:
        name: its folder.
        cohort: settings of the cohort, in trainings.
        network: settings of every run.
    """

    name: str
    cohort: Mapping[str, Any]
    network: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The folder."""
        return REPOSITORY / "bundles" / self.name

    def __call__(self, *names: str, dataset_dir: Path, output_dir: Path, **options: object) -> None:
        """Run configurations as ``python -m monai.bundle run`` does, in this process."""
        fire.Fire(monai.bundle.run, command=self._words(names, dataset_dir, output_dir, options))

    def in_processes(
        self, processes: int, *names: str | Path, dataset_dir: Path, output_dir: Path, restarts: int = 0, **options: object
    ) -> str:
        """Run configurations by torchrun, fail with what they said, and return it."""
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", f"--max-restarts={restarts}"]
        words = self._words(names, dataset_dir, output_dir, options)
        command = [sys.executable, *torchrun, "-m", "monai.bundle", "run", *words]
        # or a restart would look for the old processes
        environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert finished.returncode == 0, finished.stderr[-3000:]
        return finished.stdout + finished.stderr

    def refusal(self, *names: str, dataset_dir: Path, output_dir: Path, **options: object) -> str:
        """What a run says that ends with an error, whose causes are part of it."""
        with pytest.raises(RuntimeError) as caught:
            self(*names, dataset_dir=dataset_dir, output_dir=output_dir, **options)
        return "".join(traceback.format_exception(caught.value))

    def _words(
        self, names: Sequence[str | Path], dataset_dir: Path, output_dir: Path, options: Mapping[str, object]
    ) -> list[str]:
        """The command line after ``run``; a path is that of a configuration elsewhere."""
        files = [str(name if isinstance(name, Path) else self.root / "configs" / f"{name}.yaml") for name in names]
        given = {"dataset_dir": dataset_dir, "output_dir": output_dir, **options}
        if "train" in names:
            given = {**self.cohort, **self.network, **given}
        words = ["--config_file", str(files), "--bundle_root", str(self.root)]
        return words + [word for name, value in given.items() for word in (f"--{name}", str(value))]

    def train_in_processes_as_in_one(self, dataset_dir: Path, output_dir: Path, killed: bool = False) -> None:
        """Two processes with half of the batch each, and one with all of it: the same losses and metrics.

        In float64: in float32 the rounding of a smaller batch may choose another of two equally good pivots.

        Args:
            dataset_dir: of the cohort.
            output_dir: an empty folder.
            killed: whether the second of the two is killed in a second epoch, and torchrun starts both again.
        """
        one, two, kill = output_dir / "one", output_dir / "two", output_dir / "kill.yaml"
        kill.write_text(KILL)
        given: dict[str, Any] = {"dataset_dir": dataset_dir, "max_epochs": 1 + killed, "val_interval": 1, "float64": True}
        given["augmentation"] = "[]"  # whose random numbers are each process's own
        names = ("train", "multi_gpu_train")
        self.in_processes(1, *names, output_dir=one, batch_size=4, **given)
        two.mkdir()
        (two / "checkpoint_epoch=7.pt").write_text("of an earlier training")
        said = self.in_processes(2, *names, *[kill] * killed, output_dir=two, batch_size=2, restarts=int(killed), **given)
        assert (f"Going on from {two / 'checkpoint_epoch=1.pt'}" in said) == killed
        assert not (two / "checkpoint_epoch=7.pt").exists()
        assert _numbers(two) == pytest.approx(_numbers(one), rel=1e-5, nan_ok=True)
        histories = [
            torch.load(next(iter(checkpoints(folder).values())), weights_only=True)["history"]["rows"] for folder in (one, two)
        ]
        assert [row["loss"] for row in histories[1]] == pytest.approx([row["loss"] for row in histories[0]], rel=1e-5)

    def interrupt(self, checkpoint: int, *names: str, dataset_dir: Path, output_dir: Path, **options: Any) -> None:
        """Run configurations that train until so many checkpoints have been written, as if the process were ended then."""
        save, lock = TrainingSaver._write, OutputFolder.lock
        saved: list[str] = []
        locked: list[OutputFolder] = []

        def interrupted(saver: TrainingSaver, state: Mapping[str, Any], filename: str) -> None:
            save(saver, state, filename)
            saved.append(filename)
            if len(saved) == checkpoint:
                raise KeyboardInterrupt

        def remembered(folder: OutputFolder) -> None:
            lock(folder)
            locked.append(folder)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(TrainingSaver, "_write", interrupted)
            patch.setattr(OutputFolder, "lock", remembered)
            self(*names, dataset_dir=dataset_dir, output_dir=output_dir, **options)
        for folder in locked:  # as the end of a process does
            folder.release()

    def interrupt_and_resume(self, dataset_dir: Path, output_dir: Path, **options: Any) -> Outputs:
        """A training of two epochs that stops after the first and is continued."""
        given: dict[str, Any] = {"dataset_dir": dataset_dir, "output_dir": output_dir, "max_epochs": 2, "val_interval": 1}
        self.interrupt(1, "train", **given, **options)
        self("train", resume=True, **given, **options)
        return Outputs(output_dir)

    def interrupt_and_resume_all_folds(self, dataset_dir: Path, output_dir: Path) -> Outputs:
        """A training of two folds that stops after the first epoch of the second and is continued."""
        given: dict[str, Any] = {"dataset_dir": dataset_dir, "output_dir": output_dir, **ALL_FOLDS, "max_epochs": 2}
        self.interrupt(3, "train", "all_folds", **given)
        first = (output_dir / "fold0" / "model.pt").stat().st_mtime_ns
        self("train", "all_folds", resume=True, **given)
        assert (output_dir / "fold0" / "model.pt").stat().st_mtime_ns == first, "a fold that has finished is kept"
        return Outputs(output_dir)

    def train_and_predict_in_the_papers_setting(self, cohort: Path, output_dir: Path, **inference: object) -> None:
        """Its configuration after those of training and inference, at a low rank."""
        model = output_dir / "model.pt"
        self("train", "paper", dataset_dir=cohort, output_dir=output_dir, max_epochs=1, val_interval=1, rank=4)
        state = read_model(model).weights
        assert (
            state["bottleneck.encoder.layers.0.weight"].dtype == torch.float64 and state["projection.coefficients"].shape[1] == 4
        )
        folder = output_dir / "inference"
        self("inference", dataset_dir=cohort, output_dir=folder, model=model, **inference)
        assert (folder / "predictions.csv").is_file()

    def pass_monais_own_checks(self, cohort: Path, tmp_path: Path, **options: Any) -> None:
        """Properties, metadata, the network's input and output, and a plain refusal of TorchScript, which cannot read scans."""
        configs = self.root / "configs"
        metadata = str(configs / "metadata.json")
        options = {"model": str(tmp_path / "model.pt"), **options}
        for name, kind in (("train", "train"), ("inference", "infer")):
            workflow = ConfigWorkflow(
                str(configs / f"{name}.yaml"),
                metadata,
                logging_file=False,
                workflow_type=kind,
                bundle_root=str(self.root),
                dataset_dir=str(cohort),
                output_dir=str(tmp_path),
                **(options if kind == "infer" else self.cohort),
            )
            workflow.initialize()
            assert not workflow.check_properties()
            if kind == "train":
                parsed = workflow.parser.get_parsed_content
                write_model(options["model"], parsed("network_def"), parsed("record"), parsed("fitted"))
                workflow.finalize()
        verify_metadata(metadata, str(REPOSITORY / "tests" / "bundles" / "metadata_schema.json"))
        training = {**self.cohort, "dataset_dir": str(cohort)}
        for name, model in (("train", training), ("inference", {"model": options["model"]})):
            verify_net_in_out("network_def", metadata, str(configs / f"{name}.yaml"), device="cpu", **model)
        with pytest.raises(RuntimeError, match=r"deploy the weights \(model.pt\) with the bundle's inference.yaml"):
            ckpt_export(
                "network_def",
                filepath=str(tmp_path / "model.ts"),
                ckpt_file=options["model"],
                key_in_ckpt="network",
                meta_file=metadata,
                config_file=str(configs / "inference.yaml"),
                use_trace=True,
                bundle_root=str(self.root),
                model=options["model"],
            )


def _numbers(output_dir: Path) -> dict[str, float]:
    """All of a run's numbers."""
    metrics = json.loads((output_dir / "metrics.json").read_text())
    del metrics["network"]
    nested = {key: value if isinstance(value, dict) else {"": value} for key, value in metrics.items()}
    return {
        f"{model} {name} {place}": math.nan if value is None else value
        for model, values in nested.items()
        for name, given in values.items()
        if not isinstance(given, str)
        for place, value in enumerate(given if isinstance(given, list) else [given])
    }
