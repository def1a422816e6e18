"""Noticing that weights have changed, so that what was computed with others is forgotten."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ["WeightsVersion"]


class WeightsVersion:
    """The weights and buffers of modules as they last were; a copy of this, such as that of another process, knows none.

    Example:
        >>> version, layer = WeightsVersion(), nn.Linear(2, 1)
        >>> version.is_new(layer), version.is_new(layer)
        (True, False)
        >>> _ = nn.init.zeros_(layer.bias)
        >>> version.is_new(layer)
        True
    """

    def __init__(self) -> None:
        self._known: list[tuple[Tensor, int]] = []  # and their versions

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def is_new(self, *modules: nn.Module) -> bool:
        """Whether the modules have other weights than in the last call: others, in other memory, or changed since."""
        weights = (weight for module in modules for weight in (*module.parameters(), *module.buffers()))
        state = [weight.detach() for weight in weights]  # of the same memory and version
        same = len(state) == len(self._known) and all(
            weight.data_ptr() == known.data_ptr() and weight.dtype == known.dtype and weight._version == version
            for weight, (known, version) in zip(state, self._known, strict=True)
        )
        if not same:
            self._known = [(weight, weight._version) for weight in state]
        return not same
