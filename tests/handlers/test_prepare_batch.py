"""Rows of patients with different numbers of visits."""

from __future__ import annotations

from typing import Any

import torch

from monai_cpic.data import list_collate, open_volume
from monai_cpic.handlers import PrepareRows


def test_every_row_gets_its_patients_volume() -> None:
    items: list[dict[str, Any]] = [
        {"image": open_volume(torch.zeros(1, 4, 4, 4)), "covariates": torch.rand(v, 8), "label": torch.rand(v)} for v in (3, 1, 2)
    ]
    volumes, targets, (covariates,), kwargs = PrepareRows()(list_collate(items), device="cpu")
    assert [items[p]["image"] for p in (0, 0, 0, 1, 2, 2)] == volumes and kwargs == {}
    torch.testing.assert_close(targets, torch.cat([item["label"] for item in items]))
    torch.testing.assert_close(covariates, torch.cat([item["covariates"] for item in items]))


def test_the_network_may_see_the_volumes_only() -> None:
    items = [{"image": open_volume(torch.zeros(1, 4, 4, 4)), "covariates": torch.rand(1, 3), "label": torch.rand(1, 2)}] * 2
    volumes, targets, seen, kwargs = PrepareRows(use_covariates=False)(list_collate(items), device="cpu")
    assert len(volumes) == 2 and targets.shape == (2, 2) and seen == () and kwargs == {}
