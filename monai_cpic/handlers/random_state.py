"""Torch's random numbers as something a checkpoint can keep."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["RandomState"]


class RandomState:
    """The state of torch's generators on the CPU and all GPUs.

    Saved by a checkpoint at the end of an epoch and loaded at the start of a resumed training, it makes the resumed epochs
    shuffle and sample as the uninterrupted ones would have.
    """

    def state_dict(self) -> dict[str, Any]:
        """The present states, byte tensors."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        torch.set_rng_state(state["cpu"].cpu())
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
