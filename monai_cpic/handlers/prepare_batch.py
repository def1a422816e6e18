"""From batches of patients to rows of covariates and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor

__all__ = ["PrepareRows"]


class PrepareRows(PrepareBatch):
    """Turn a batch of patients, each with one volume and any number of rows (such as visits), into rows for the network.

    A patient's volume is repeated for each of the patient's rows, as the same object, so that
    :class:`~monai_cpic.networks.CPICNet` evaluates it once.

    Args:
        image_key: key of the volumes, a list of ``B``.
        covariates_key: key of the covariates, a float tensor ``[V_b, F]`` for each patient.
        label_key: key of the labels, a float tensor ``[V_b, …]`` for each patient.
        use_covariates: pass the covariates to the network; otherwise it sees the volumes only.

    Returns of a call:
        ``(volumes, targets [R, …], (covariates [R, F],), {})`` with ``R = Σ V_b``; without covariates the inner tuple is empty.
    """

    def __init__(
        self, image_key: str = "image", covariates_key: str = "covariates", label_key: str = "label", use_covariates: bool = True
    ) -> None:
        self.image_key = image_key
        self.covariates_key = covariates_key
        self.label_key = label_key
        self.use_covariates = use_covariates

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[list[Any], Tensor, tuple[Tensor, ...], dict[str, Any]]:
        covariates: Sequence[Tensor] = batchdata[self.covariates_key]
        volumes = [volume for volume, rows in zip(batchdata[self.image_key], covariates, strict=True) for _ in range(len(rows))]
        targets = torch.cat(list(batchdata[self.label_key])).to(device, non_blocking=non_blocking)
        seen = (torch.cat(list(covariates)).to(device, non_blocking=non_blocking),) if self.use_covariates else ()
        return volumes, targets, seen, {}
