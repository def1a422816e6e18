"""Losses and metrics in TensorBoard's files and in a database of MLflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from ignite.engine import Engine, Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_cpic.handlers import mlflow_handler, tensorboard_handler


def run(*handlers: Any, training: bool) -> None:
    """Two epochs of two batches; a metric that is ten times the epoch."""

    def step(engine: Engine, batch: float) -> dict[str, Any]:
        return {"loss": torch.tensor(batch)} if training else {"pred": torch.zeros(1)}

    engine = Engine(step)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: engine.state.metrics.update(mae=10.0 * engine.state.epoch))
    for handler in handlers:
        handler.attach(engine)
    engine.run([1.0, 2.0], max_epochs=2)


def test_tensorboard(tmp_path: Path) -> None:
    run(tensorboard_handler(tmp_path / "training"), training=True)
    run(tensorboard_handler(tmp_path / "validation"), training=False)
    for name, tags in (("training", ["loss", "mae"]), ("validation", ["mae"])):
        written = EventAccumulator(str(tmp_path / name)).Reload()
        assert written.Tags()["scalars"] == tags
        assert [(event.step, event.value) for event in written.Scalars("mae")] == [(1, 10), (2, 20)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's database
def test_mlflow(tmp_path: Path) -> None:
    """Handlers of one name add to one run, until it ends."""
    address = f"sqlite:///{tmp_path / 'runs.db'}"
    handlers = [mlflow_handler(address, "bundle", "runs/score", ends=ends) for ends in (False, True)]
    run(handlers[0], training=False)
    run(handlers[1], training=True)
    client = mlflow.MlflowClient(address)
    experiment = client.get_experiment_by_name("bundle")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "runs/score" and found.info.status == "FINISHED"
    assert [metric.value for metric in client.get_metric_history(found.info.run_id, "loss")] == [1, 2, 1, 2]
    assert found.data.metrics["mae"] == 20
    for handler in handlers:
        handler.close()


def test_an_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"^tensorboard is not installed: pip install 'monai-cpic\[tensorboard\]'$"):
        tensorboard_handler(tmp_path)
    with pytest.raises(ImportError, match=r"^mlflow is not installed: pip install 'monai-cpic\[mlflow\]'$"):
        mlflow_handler("sqlite:///runs.db", "bundle", "run", ends=True)
