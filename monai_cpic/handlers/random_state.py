"""The state of torch's random number generators, to be saved in checkpoints."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["RandomState"]


class RandomState:
    """The state of torch's generators on the CPU and all GPUs.

    If it is saved in the checkpoint of an epoch and loaded when the training is resumed, the resumed epochs shuffle and sample as
    they would have without the interruption.
    """

    def state_dict(self) -> dict[str, Any]:
        """The present states, as byte tensors."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the states."""
        torch.set_rng_state(state["cpu"].cpu())
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
