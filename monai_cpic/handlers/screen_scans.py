"""A look at new scans beside their prediction: do they belong to those of the training?"""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor, nn

from monai_cpic.networks import VolumeRegressor
from monai_cpic.novelty import CohortProfile, ScanDescription, describe

__all__ = ["ScreenScans"]


class ScreenScans:
    """Compare the scans of an evaluator's run with those of the training.

    A scan that cannot be right is refused before it is predicted.  What is odd about the others is found when they are predicted;
    their features are taken from the prediction and not computed again.

    Args:
        profile: of the training.
        network: the evaluator's network.

    Attributes:
        warnings: what is odd about each scan of all runs (:meth:`~monai_cpic.novelty.CohortProfile.warnings`), in their order.
    """

    def __init__(self, profile: CohortProfile, network: VolumeRegressor) -> None:
        self.profile = profile
        self.network = network
        self.warnings: list[list[str]] = []
        self._scans: list[ScanDescription] = []
        self._features: Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        self.network.feature_layer.register_forward_hook(self._keep_features)
        engine.add_event_handler(Events.ITERATION_STARTED, self._describe)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Compare the scans of one batch."""
        assert self._features is not None
        self.warnings += [self.profile.warnings(scan, own) for scan, own in zip(self._scans, self._features, strict=True)]

    def _describe(self, engine: Engine) -> None:
        """Describe the scans of one batch.

        Raises:
            ValueError: if one cannot be right.
        """
        batch: Any = engine.state.batch
        self._scans = [describe(image) for image in batch["image"]]
        for patient, image, scan in zip(batch["patient"], batch["image"], self._scans, strict=True):
            if refusal := self.profile.refusal(scan):
                raise ValueError(
                    f"patient {patient}: {image.key}: {refusal}: replace the scan, or leave the patient out with exclude=[...]"
                )

    def _keep_features(self, layer: nn.Module, given: Any, features: Tensor) -> None:
        self._features = features.detach()
