"""Scans that are looked at beside their prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator

from monai_cpic.data import list_collate, open_volume
from monai_cpic.handlers import PrepareRows, ScreenScans
from monai_cpic.networks import CPICNet, RandomCells, RidgeReadout, VolumeRegressor, random_cells_net
from monai_cpic.novelty import describe, fit_profile

SHAPE = (16, 16, 16)


def item(patient: str, values: torch.Tensor, modality: str | None = "CT") -> dict[str, Any]:
    volume = replace(open_volume(values), key=f"/scans/{patient}", modality=modality)
    return {"patient": patient, "image": volume, "covariates": torch.zeros(2, 0), "label": torch.zeros(2, 1)}


def items(count: int) -> list[dict[str, Any]]:
    return [item(f"P{b}", torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(b))) for b in range(count)]


def run(network: VolumeRegressor, screening: ScreenScans, data: list[dict[str, Any]]) -> None:
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=4, collate_fn=list_collate),
        network=network,
        prepare_batch=PrepareRows(use_covariates=False),
        val_handlers=[screening],
        decollate=False,
    ).run()


def test_warnings_are_those_of_each_patients_own_features() -> None:
    network = random_cells_net(SHAPE)
    training, new = items(20), [*items(22)[20:], item("odd", 7 * torch.rand(1, *SHAPE)), *items(24)[22:]]
    profile = fit_profile(network, [list_collate(training)], ["CT"])
    screening = ScreenScans(profile, network)
    run(network, screening, new)
    with torch.no_grad():
        expected = [profile.warnings(describe(p["image"]), network.features([p["image"]])[0]) for p in new]
    assert screening.warnings == expected and [p["patient"] for p in new] == ["P20", "P21", "odd", "P22", "P23"]
    assert any("the network's features" in warning for warning in expected[2]) and not expected[0]


def test_features_are_seen_beside_a_readout() -> None:
    """A network that predicts by a readout still shows its features."""
    cells = RandomCells(SHAPE, 16, 64)
    network = CPICNet(decomposition=cells, readout=RidgeReadout(1, 0, 16, cells.scan_sizes))
    training = items(12)
    network.refresh([([p["image"] for p in training], torch.rand(12, 1), None)])
    screening = ScreenScans(fit_profile(network, [list_collate(training)], ["CT"]), network)
    run(network, screening, training[:3])
    assert len(screening.warnings) == 3


def test_two_scans_of_a_patient_have_warnings_of_their_own() -> None:
    network = random_cells_net(SHAPE)
    training = items(20)
    screening = ScreenScans(fit_profile(network, [list_collate(training)], ["CT"]), network)
    run(network, screening, [item("P20", torch.rand(1, *SHAPE)), item("P20", 7 * torch.rand(1, *SHAPE))])
    first, second = screening.warnings
    assert second and first != second


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            item("brain", torch.rand(1, *SHAPE), "MR"),
            "patient brain: /scans/brain: its modality is MR, that of the training scans CT",
        ),
        (item("empty", torch.zeros(1, *SHAPE)), "patient empty: /scans/empty: it is empty"),
    ],
)
def test_what_cannot_be_right_is_refused_before_it_is_predicted(wrong: dict[str, Any], said: str) -> None:
    network = random_cells_net(SHAPE)
    training = items(12)
    screening = ScreenScans(fit_profile(network, [list_collate(training)], ["CT"]), network)
    with pytest.raises(ValueError, match=said) as caught:
        run(network, screening, [training[0], wrong])
    assert "exclude=[...]" in str(caught.value) and screening.warnings == []
