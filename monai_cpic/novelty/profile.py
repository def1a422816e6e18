"""What the scans of a training have in common, and what is odd about a new one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_cpic.networks import VolumeRegressor
from monai_cpic.novelty.description import Quantity, ScanDescription, describe
from monai_cpic.novelty.distance import TypicalDistance

__all__ = ["CohortProfile", "fit_profile"]

logger = logging.getLogger(__name__)

OF_THE_RANGE, OF_THE_SCALE = 0.5, 0.25  # margin around the range of the training: the larger of these shares

# The limits of distances, as TypicalDistance.fit takes them.  That of features is higher: an encoder has seen its training scans,
# and features of others spread more widely.
DEVIATIONS = {"picture": 3.0, "features": 4.0}


@dataclass(frozen=True)
class Range:
    """The values of a quantity in the training, from ``low`` to ``high``, and the margin within which others are not odd."""

    low: float
    high: float
    margin: float

    @classmethod
    def of(cls, quantities: Sequence[Quantity]) -> Range:
        """The range of the quantities of all scans."""
        low, high = min(quantities).value, max(quantities).value
        return cls(low, high, max(OF_THE_RANGE * (high - low), OF_THE_SCALE * max(scale for _, scale in quantities)))

    def __contains__(self, value: float) -> bool:
        return self.low - self.margin <= value <= self.high + self.margin


@dataclass(frozen=True)
class CohortProfile:
    """The scans of a training, in numbers that go with the model.

    Args:
        channels: names of the channels.
        modalities: those that the files name.
        orientations: of the stored axes.
        ranges: of the quantities of :meth:`ScanDescription.quantities`, by name.
        distances: of the coarse picture (``"picture"``) and of the network's features (``"features"``); empty if there were too
            few scans.
    """

    channels: tuple[str, ...]
    modalities: tuple[str, ...]
    orientations: tuple[str, ...]
    ranges: dict[str, Range]
    distances: dict[str, TypicalDistance]

    @classmethod
    def of(cls, scans: Sequence[ScanDescription], features: Tensor, channels: Sequence[str]) -> CohortProfile:
        """The profile of the scans of a training.

        Args:
            scans: ``B`` scans.
            features: of the trained network, ``[B, F]``.
            channels: names of the channels.
        """
        quantities = [scan.quantities(channels) for scan in scans]
        vectors = {"picture": torch.stack([scan.picture for scan in scans]), "features": features}
        if len(scans) < TypicalDistance.fewest:
            logger.warning(
                "%d training scans are too few to say which features are usual: new scans will be compared by modality, "
                "orientation, spacing, field of view and percentiles only",
                len(scans),
            )
            vectors = {}
        return cls(
            tuple(channels),
            tuple(sorted({scan.modality for scan in scans if scan.modality is not None})),
            tuple(sorted({scan.orientation for scan in scans})),
            {name: Range.of([own[name] for own in quantities]) for name in quantities[0]},
            {name: TypicalDistance.fit(rows, DEVIATIONS[name]) for name, rows in vectors.items()},
        )

    def refusal(self, scan: ScanDescription) -> str:
        """Why a prediction from this scan cannot be right, as a clause; empty if nothing speaks against it."""
        if scan.modality is not None and self.modalities and scan.modality not in self.modalities:
            return f"its modality is {scan.modality}, that of the training scans {' or '.join(self.modalities)}"
        if len(scan.intensities) != len(self.channels):
            return f"it has {len(scan.intensities)} channels, the training scans have {len(self.channels)}"
        if scan.constant:
            return f"it is empty: all voxels have the value {scan.intensities[0][0]:g}"
        return ""

    def warnings(self, scan: ScanDescription, features: Tensor) -> list[str]:
        """What is odd about a scan, one clause for each thing, with its value and those of the training.

        Args:
            scan: the scan; :meth:`refusal` must have found nothing.
            features: those of the network, ``[F]``.
        """
        found = []
        if scan.orientation not in self.orientations:
            found.append(f"stored axes point to {scan.orientation} (training: {', '.join(self.orientations)})")
        for name, (value, _) in scan.quantities(self.channels).items():
            usual = self.ranges[name]
            if value not in usual:
                found.append(f"{name} is {_text(value)} (training: {_text(usual.low)} to {_text(usual.high)})")
        meanings = {
            "picture": (scan.picture, "the coarse picture is unlike those of the training scans: distance"),
            "features": (features, "the network's features are unlike those of the training scans: distance"),
        }
        for name, typical in self.distances.items():
            vector, meaning = meanings[name]
            distance = typical(vector)
            if not distance <= typical.limit:
                found.append(f"{meaning} {distance:.2f} (training: usually up to {typical.limit:.2f})")
        return found

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, for the model file."""
        return {
            "channels": list(self.channels),
            "modalities": list(self.modalities),
            "orientations": list(self.orientations),
            "ranges": {name: [usual.low, usual.high, usual.margin] for name, usual in self.ranges.items()},
            "distances": {name: typical.state_dict() for name, typical in self.distances.items()},
        }

    @classmethod
    def from_fitted(cls, fitted: Mapping[str, Any]) -> CohortProfile:
        """The profile in a model file, the inverse of :meth:`state_dict`.

        Args:
            fitted: what was found after the training (:class:`~monai_cpic.model_files.ModelFile`), the profile as ``"profile"``.

        Raises:
            ValueError: if there is none.
        """
        if "profile" not in fitted:
            raise ValueError(
                "the model does not say what its training scans were like, so that others cannot be told from them: train anew"
            )
        state = fitted["profile"]
        return cls(
            tuple(state["channels"]),
            tuple(state["modalities"]),
            tuple(state["orientations"]),
            {name: Range(*numbers) for name, numbers in state["ranges"].items()},
            {name: TypicalDistance.from_state_dict(own) for name, own in state["distances"].items()},
        )


def _text(value: float) -> str:
    """Four digits, never an exponent."""
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")


@torch.no_grad()
def fit_profile(network: VolumeRegressor, data_loader: Iterable[Mapping[str, Any]], channels: Sequence[str]) -> CohortProfile:
    """The profile of the scans that a network was trained on; the network is in evaluation mode afterwards.

    Args:
        network: the trained network.
        data_loader: batches of the training, with volumes as ``image``, preprocessed as for a prediction.
        channels: names of the channels.
    """
    network.eval()
    scans, features = [], []
    for batch in data_loader:
        scans += [describe(volume) for volume in batch["image"]]
        features.append(network.features(batch["image"]).cpu())
    return CohortProfile.of(scans, torch.cat(features), channels)
