"""Handlers in a real training, and resuming it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanSquaredError, ValidationHandler
from monai.transforms import Compose, RandScaleIntensityd
from monai.utils import set_determinism

from monai_cpic.data import list_collate, open_volume
from monai_cpic.handlers import (
    History,
    PrepareRows,
    RandomState,
    RefreshHandler,
    ScheduleCurriculum,
    SeedTransforms,
    TrainingSaver,
    resume_training,
)
from monai_cpic.model_files import TrainingRecord
from monai_cpic.networks import CPICNet, Curriculum, RandomCells, ResNetRegressor, RidgeReadout, TTProjection, paper_net

SHAPE = (8, 8, 8)
RECORD = TrainingRecord(settings={}, units={}, fold=0, seed=0, patients=[])


def small_net(covariates: int = 0) -> CPICNet:
    return paper_net(SHAPE, covariates=covariates, n_dims=3, rank=3, oversampling=1.5)


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    for b in range(6):
        np.save(tmp_path / f"{b}.npy", torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(b)).numpy())
    return [
        {
            "image": open_volume(tmp_path / f"{b}.npy"),
            "covariates": torch.full((2, 1), b / 6),
            "label": torch.tensor([b / 6, 0.5]),
        }
        for b in range(6)
    ]


def training(
    items: list[dict[str, Any]], folder: Path, epochs: int, resume: bool = False
) -> tuple[SupervisedTrainer, CPICNet, History]:
    set_determinism(0)
    network = small_net(covariates=1)
    optimizer = torch.optim.RAdam(network.parameters(), lr=1e-2)
    loader = DataLoader(Dataset(items), batch_size=3, shuffle=True, collate_fn=list_collate)
    fixed = DataLoader(Dataset(items), batch_size=3, collate_fn=list_collate)
    common: dict[str, Any] = {"device": "cpu", "network": network, "prepare_batch": PrepareRows(), "decollate": False}
    metric: dict[str, Metric] = {"mse": MeanSquaredError(output_transform=lambda o: (o["pred"], o["label"][:, None]))}
    evaluator = SupervisedEvaluator(val_data_loader=fixed, key_val_metric=metric, **common)
    history = History(evaluator)
    trainer = SupervisedTrainer(
        max_epochs=epochs,
        train_data_loader=loader,
        optimizer=optimizer,
        loss_function=lambda pred, label: torch.nn.functional.mse_loss(pred[:, 0], label),
        train_handlers=[RefreshHandler(network, fixed, interval=2), history, ValidationHandler(interval=2, validator=evaluator)],
        **common,
    )
    state = {
        "network": network,
        "optimizer": optimizer,
        "indices": network.bottleneck.decomposition.indices,
        "history": history,
        "trainer": trainer,
        "random_state": RandomState(),
    }
    TrainingSaver(folder, state, RECORD, interval=2).attach(trainer)
    if resume:
        resume_training(trainer, state, folder, RECORD)
    trainer.run()
    return trainer, network, history


def test_resumed_training_equals_an_uninterrupted_one(items: list[dict[str, Any]], tmp_path: Path) -> None:
    _, whole, whole_history = training(items, tmp_path / "whole", 6)
    training(items, tmp_path / "parts", 4)  # stops after epoch 4 …
    trainer, resumed, history = training(items, tmp_path / "parts", 6, resume=True)  # … and goes on from its checkpoint
    assert trainer.state.epoch == 6
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert history.rows == whole_history.rows


def test_history_has_losses_and_metrics(items: list[dict[str, Any]], tmp_path: Path) -> None:
    _, _, history = training(items, tmp_path, 4)
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4]
    assert all(row["loss"] > 0 for row in history.rows)
    assert ["mse" in row for row in history.rows] == [False, True, False, True]


def test_refreshed_basis_comes_from_all_training_volumes(items: list[dict[str, Any]]) -> None:
    network = small_net().train()
    network([item["image"] for item in items[:3]])
    fixed = DataLoader(Dataset(items), batch_size=4, collate_fn=list_collate)
    trainer = SupervisedTrainer("cpu", 1, fixed, network, torch.optim.SGD(network.parameters(), 0.1), torch.nn.MSELoss())
    RefreshHandler(network, fixed)(trainer)
    assert isinstance(network.projection, TTProjection)
    assert (network.projection.group >= 0).sum() == 6 and not network.training
    with torch.no_grad():
        features = network.features([item["image"] for item in items])
    torch.testing.assert_close(features.mean(0), torch.zeros(3, dtype=torch.double), atol=1e-6, rtol=0)


def test_a_ridge_readout_is_fitted_to_the_rows_whose_target_is_known(items: list[dict[str, Any]]) -> None:
    network = small_net(covariates=1).train()
    network.readout = RidgeReadout(1, 1, 3, network.bottleneck.decomposition.scan_sizes)
    loader = DataLoader(Dataset(items), batch_size=4, collate_fn=list_collate)
    trainer = SupervisedTrainer("cpu", 1, loader, network, torch.optim.SGD(network.parameters(), 0.1), torch.nn.MSELoss())
    RefreshHandler(network, loader, target=lambda label: label[:, None].where(label[:, None] < 0.5, torch.nan))(trainer)
    fitted = network.readout
    assert fitted.fitted
    with torch.no_grad():
        field = network.bottleneck([item["image"] for item in items])
    expected = RidgeReadout(1, 1, 3, network.bottleneck.decomposition.scan_sizes)
    target = torch.tensor([[b / 6] for b in range(3)])  # of each patient the second row, and of the last three both, are left out
    expected.fit(field[:3], target, target)
    covariates = torch.stack([item["covariates"][0] for item in items])
    torch.testing.assert_close(fitted(field, covariates), expected(field, covariates), rtol=1e-4, atol=1e-4)


def test_transforms_are_seeded_each_epoch_from_torchs_generator(items: list[dict[str, Any]]) -> None:
    transform = Compose([RandScaleIntensityd("label", prob=1.0, factors=0.5)])
    network = small_net()
    trainer = SupervisedTrainer("cpu", 1, [], network, torch.optim.SGD(network.parameters(), 0.1), torch.nn.MSELoss())
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        for _ in range(2):
            SeedTransforms(transform)(trainer)
            drawn.append(transform(dict(items[1]))["label"])
    assert torch.equal(drawn[0], drawn[2]) and torch.equal(drawn[1], drawn[3]) and not torch.equal(drawn[0], drawn[1])


def test_a_network_that_sees_all_voxels_has_nothing_to_refresh(items: list[dict[str, Any]]) -> None:
    network = ResNetRegressor(SHAPE)
    loader = DataLoader(Dataset(items), batch_size=4, collate_fn=list_collate)
    trainer = SupervisedTrainer("cpu", 1, loader, network, torch.optim.SGD(network.parameters(), 0.1), torch.nn.MSELoss())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    RefreshHandler(network, loader)(trainer)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_curriculum_gets_its_share_of_the_steps_of_a_training_also_of_a_longer_one() -> None:
    cells = RandomCells(SHAPE, n_dims=2, cells=8)
    curriculum = Curriculum(cells, cells)
    trainer = Engine(lambda engine, batch: None)
    ScheduleCurriculum(curriculum, share=0.7).attach(trainer)
    for epochs, steps in ((2, 7), (4, 14)):
        trainer.run(range(5), max_epochs=epochs)
        assert curriculum.steps == steps
    with pytest.raises(ValueError, match="between 0 and 1, got 1.5"):
        ScheduleCurriculum(curriculum, share=1.5)


def test_the_learning_curve_keeps_what_an_epoch_had() -> None:
    """Weights of an earlier epoch may be chosen, and evaluated again."""
    trainer, evaluator = Engine(lambda engine, batch: {"loss": torch.tensor(1.0)}), Engine(lambda engine, batch: None)
    history = History(evaluator)
    history.attach(trainer)
    trainer.run([0], max_epochs=1)
    for score in (0.5, 0.9):
        evaluator.state.metrics["score"] = score
        history._metrics(evaluator)
    assert history.rows == [{"epoch": 1, "loss": 1.0, "score": 0.5}]


def test_the_scale_of_gradients_in_mixed_precision_is_saved(tmp_path: Path) -> None:
    class Scaler:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def state_dict(self) -> dict[str, float]:
            return {"scale": self.scale}

        def load_state_dict(self, state: dict[str, float]) -> None:
            self.scale = state["scale"]

    class Trainer(Engine):
        """With a scaler, as MONAI's trainers have one."""

        def __init__(self, scale: float) -> None:
            super().__init__(lambda engine, batch: None)
            self.scaler = Scaler(scale)

    one, other = Trainer(8.0), Trainer(65536.0)
    TrainingSaver(tmp_path, {"trainer": one}, RECORD).attach(one)
    one.run([0], max_epochs=1)
    resume_training(other, {"trainer": other}, tmp_path, RECORD)
    other.run([0], max_epochs=2)
    assert other.scaler.scale == 8.0


def test_patients_are_told_to_readouts(items: list[dict[str, Any]]) -> None:
    class Told(ResNetRegressor):
        def refresh(self, batches: Any) -> list[str]:
            self.named = [name for batch in batches for name in batch[3]]
            return []

    network = Told(SHAPE, covariates=1)
    named = [{**item, "patient": f"P{number // 2}"} for number, item in enumerate(items)]
    RefreshHandler(network, DataLoader(Dataset(named), batch_size=4, collate_fn=list_collate))(Engine(lambda *_: None))
    assert network.named == [f"P{number // 4}" for number in range(12)]
