"""What is killed: work that goes on from what killed processes left, and what must hold after each kill."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel
import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine, Events

from monai_cpic.data import open_volume
from monai_cpic.experiments import job as experiment
from monai_cpic.experiments.runs import Job, results, run_jobs
from monai_cpic.handlers import OutputFolder, RandomState, TrainingSaver, checkpoints, resume_training
from monai_cpic.model_files import TrainingRecord, read_model, write_model
from monai_cpic.networks import IndexStore
from monai_cpic.phantoms.simulation import Simulation
from monai_cpic.reporting.metrics_file import write_metrics
from monai_cpic.reporting.report import Report
from monai_cpic.staging import remove_unfinished
from monai_cpic.tensor_train import Sweep, qtt_modes
from monai_cpic.tensor_train.indices import initial_indices

__all__ = ["SCENARIOS", "Scenario"]

SCANS, EDGE = 8, 40
KEYS = "abcdefgh"
SIZE = 500  # of a layer, whose weights are 1 MB
ROWS = 5000  # of a table in a report
RECORD = TrainingRecord(settings={"rank": 6}, units={}, fold=0, seed=0, patients=[])


class Scenario(ABC):
    """One kind of work in a folder.

    Args:
        folder: an empty folder.

    Attributes:
        companions: number of other processes that do the same work at the same time, and must not notice the kill.
    """

    companions = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def act(self, turn: int) -> None:
        """Do the work, or what is left of it, to its end.  Turns differ where there is a choice."""

    @abstractmethod
    def check(self) -> None:
        """Raise an AssertionError or a reader's error if a file is not whole, or what was finished is lost."""


class Cache(Scenario):
    """Scans are unpacked under a limit that holds half of them."""

    companions = 1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.paths = [folder / f"{number}.nii.gz" for number in range(SCANS)]
        for number, path in enumerate(self.paths):
            values = np.random.default_rng(number).integers(0, 99, (EDGE,) * 3).astype("<i2")
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
        self.contents = {gzip.decompress(path.read_bytes()) for path in self.paths}
        self.limit = SCANS * (len(next(iter(self.contents))) + 100) // 2

    def act(self, turn: int) -> None:
        os.environ["MONAI_CPIC_CACHE_LIMIT"] = str(self.limit / 2**30)
        for number in (2 * turn % SCANS, (2 * turn + 1) % SCANS):
            volume = open_volume(self.paths[number], cache_dir=self.folder / "cache")
            found = volume.gather(torch.full((1, 3), EDGE // 2), EDGE)[0, 0].numpy()
            np.testing.assert_array_equal(found, np.random.default_rng(number).integers(0, 99, (EDGE,) * 3))

    def check(self) -> None:
        kept = [path for path in (self.folder / "cache").glob("[!.]*") if path.is_dir()]
        contents = [(path / "volume.nii").read_bytes() for path in kept]
        assert set(contents) <= self.contents, "a scan in the cache is not whole"
        assert sum(map(len, contents)) <= self.limit


class Checkpoints(Scenario):
    """A training, which is resumed for two epochs each time, and writes a checkpoint, the model and the metrics after each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.epoch = 0

    def act(self, turn: int) -> None:
        OutputFolder(self.folder).lock()
        trainer, network = self._training(saves=True)
        done = max(checkpoints(self.folder), default=0)
        trainer.run([0.0], max_epochs=done + 2)
        del network

    def _training(self, saves: bool) -> tuple[Engine, torch.nn.Module]:
        torch.manual_seed(0)
        network = torch.nn.Linear(SIZE, SIZE)

        def step(engine: Engine, batch: float) -> None:
            with torch.no_grad():
                network.weight.mul_(0.9).add_(torch.rand(SIZE, SIZE))

        trainer = Engine(step)
        if not saves:
            return trainer, network
        state = {"network": network, "trainer": trainer, "random": RandomState()}
        TrainingSaver(self.folder, state, RECORD).attach(trainer)

        @trainer.on(Events.EPOCH_COMPLETED)
        def _write() -> None:
            write_model(self.folder / "model.pt", network, RECORD)
            write_metrics(self.folder / "metrics.json", {"epoch": trainer.state.epoch})

        if checkpoints(self.folder):
            trainer.state.max_epochs = max(checkpoints(self.folder)) + 2
            resume_training(trainer, state, self.folder, RECORD)
        return trainer, network

    def check(self) -> None:
        found = checkpoints(self.folder)
        assert max(found, default=0) >= self.epoch, "an epoch is lost"
        self.epoch = max(found, default=0)
        for path in found.values():
            torch.load(path, weights_only=True)
        for name, read in (("model.pt", read_model), ("metrics.json", lambda path: json.loads(path.read_text()))):
            if (self.folder / name).exists():
                read(self.folder / name)
        if found:
            trainer, network = self._training(saves=False)
            trainer.run([0.0], max_epochs=self.epoch)
            resumed = torch.load(found[self.epoch], weights_only=True)["network"]["weight"]
            assert torch.equal(resumed, network.state_dict()["weight"]), "the resumed training differs from one at a stretch"


class Results(Scenario):
    """Weights, metrics and report of a run, which each turn replaces."""

    def act(self, turn: int) -> None:
        remove_unfinished(self.folder)  # as a run begins
        network = torch.nn.Linear(SIZE, SIZE)
        torch.nn.init.constant_(network.weight, turn)
        write_model(self.folder / "model.pt", network, RECORD)
        write_metrics(self.folder / "metrics.json", {"turns": [turn] * ROWS})
        report = Report("Results")
        report.add_table("Turns", [{"turn": turn}] * ROWS)
        report.write(self.folder / "report.html")

    def check(self) -> None:
        if (self.folder / "model.pt").exists():
            assert len(read_model(self.folder / "model.pt").weights["weight"].unique()) == 1
        if (self.folder / "metrics.json").exists():
            turns = json.loads((self.folder / "metrics.json").read_text())["turns"]
            assert turns == turns[:1] * ROWS
        if (self.folder / "report.html").exists():
            page = (self.folder / "report.html").read_text()
            assert page.count("<tr>") == ROWS + 1 and page.rstrip().endswith("</html>"), "half a report"


class Experiments(Scenario):
    """The jobs of a table, which are resumed until all have finished, and then begun anew."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.jobs = [
            Job(f"row {n}", folder / "runs" / str(n), ["train.yaml"], {"output_dir": str(n), "rank": n}) for n in range(4)
        ]
        self.finished: set[str] = set()
        self.begun = 0

    def act(self, turn: int) -> None:
        finished = all(job.result.exists() for job in self.jobs)
        with (
            mock.patch("subprocess.Popen", self._run),
            mock.patch.object(experiment, "run_job", self._train),
            ThreadPoolExecutor(1) as executor,
        ):
            run_jobs(self.jobs, self.folder, executor, resume=True)
        if finished:
            (self.folder / "runs").rename(self.folder / f"finished {turn}")
            self.act(turn)

    @staticmethod
    def _run(command: Sequence[str], **options: Any) -> mock.Mock:
        """The job in this process, which is the one that is killed."""
        with mock.patch("sys.argv", command[2:]):
            experiment.main()
        return mock.MagicMock(**{"__enter__.return_value.wait.return_value": 0})

    @staticmethod
    def _train(bundle_root: str, configs: Sequence[str], overrides: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        return {"metrics": {"score": np.random.default_rng(overrides["rank"]).random(10_000).tolist()}}

    def check(self) -> None:
        for name, (found,) in results(self.jobs).items():
            number = int(name.split()[1])
            assert found["overrides"] == self.jobs[number].overrides
            assert found["metrics"] == self._train("", [], {"rank": number}, None)["metrics"]
        finished = {job.row for job in self.jobs if job.result.exists()}
        begun = (self.folder / "runs").stat().st_ino if (self.folder / "runs").exists() else 0
        assert finished >= self.finished or begun != self.begun, "a result is lost"
        self.finished, self.begun = finished, begun


class SharedIndices(Scenario):
    """Index sets in a folder that several processes share."""

    companions = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        modes = qtt_modes((16, 16, 16))
        sweep = Sweep(lambda c: c.double().sin().sum(-1), modes)
        _, following = sweep(initial_indices(modes, 4))
        self.steps = [initial_indices(modes, rank).to(torch.int32) for rank in (2, 3, 4)] + [following.to(torch.int32)]
        self.store = IndexStore(1, folder / "indices")
        for key in KEYS:
            self.store.put(key, self.steps[0], self.steps[0])

    def act(self, turn: int) -> None:
        store = IndexStore(1, self.folder / "indices")
        for number, key in enumerate(KEYS):
            assert store.get(key) is not None
            store.put(key, *[self.steps[(turn + number) % len(self.steps)]] * 2)

    def check(self) -> None:
        found = self.store.state_dict()
        assert set(found) == set(KEYS), "the index sets of a volume are lost"
        known = [step.state_dict() for step in self.steps]
        assert all(any(_same(kept["following"], state) for state in known) for kept in found.values())


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a.long(), b.long())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


class Simulated(Scenario):
    """A simulated cohort, which is deleted once it stands."""

    class Small(Simulation):
        """Patients of one file."""

        name, table = "small", "small.csv"

        def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
            table = pd.DataFrame({"patient": range(self.patients)})
            return table, table

        def write_patient(self, cohort: Path, number: int, truth: dict[str, Any]) -> None:
            (cohort / f"{number}.raw").write_bytes(bytes([number]) * 10_000)

    def act(self, turn: int) -> None:
        if (self.folder / "cohort").exists():
            (self.folder / "cohort").rename(self.folder / f"old {turn}")
            shutil.rmtree(self.folder / f"old {turn}")
        self.Small(patients=5).ensure(self.folder / "cohort")

    def check(self) -> None:
        if (self.folder / "cohort").exists():
            files = {path.name: path.stat().st_size for path in (self.folder / "cohort").glob("*.raw")}
            assert files == {f"{number}.raw": 10_000 for number in range(5)}, "half a cohort"
            assert (self.folder / "cohort" / "simulation.json").exists()


SCENARIOS: dict[str, type[Scenario]] = {
    "cache": Cache,
    "checkpoints": Checkpoints,
    "results": Results,
    "experiments": Experiments,
    "shared index store": SharedIndices,
    "simulation": Simulated,
}
