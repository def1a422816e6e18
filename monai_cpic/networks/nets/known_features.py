"""Features of scans, kept from one evaluation to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_cpic.data import Volume
from monai_cpic.networks.weights_version import WeightsVersion

__all__ = ["KnownFeatures"]


class KnownFeatures:
    """Features by scan, of one state of the modules that make them; a copy, such as that of another process, knows none.

    Scans without an identity are not known.
    """

    def __init__(self) -> None:
        self._features: dict[bytes, Tensor] = {}
        self._version = WeightsVersion()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def keep(self, modules: Sequence[nn.Module], scans: Sequence[bytes | None], features: Tensor) -> None:
        """Remember the features ``[B, F]`` of scans with these identities, as long as the modules' weights stay as they are."""
        self._forget_others(modules)
        self._features |= {scan: own.clone() for scan, own in zip(scans, features.detach(), strict=True) if scan is not None}

    def of(self, modules: Sequence[nn.Module], volumes: Sequence[Volume]) -> Tensor | None:
        """The features ``[B, F]`` of volumes; None unless all of them are known."""
        self._forget_others(modules)
        found = [None if volume.identity is None else self._features.get(volume.identity) for volume in volumes]
        known = [own for own in found if own is not None]
        return torch.stack(known) if known and len(known) == len(volumes) else None

    def _forget_others(self, modules: Sequence[nn.Module]) -> None:
        if self._version.is_new(*modules):
            self._features = {}
