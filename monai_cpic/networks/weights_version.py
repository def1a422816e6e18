"""Noticing that weights have changed, so that what was computed with others is forgotten."""

from __future__ import annotations

import operator
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
        self._modules: list[nn.Module] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def is_new(self, *modules: nn.Module) -> bool:
        """Whether the modules are others than in the last call, or have other weights: in other memory, or changed since.

        Other attributes are not looked at.  Of weights made under ``torch.inference_mode``, nobody knows whether they changed.
        """
        parts = [part for module in modules for part in module.modules()]
        weights = (weight for module in modules for weight in (*module.parameters(), *module.buffers()))
        state = [weight.detach() for weight in weights]  # of the same memory and version
        if any(weight.is_inference() for weight in state):
            return True
        as_many = len(parts) == len(self._modules) and len(state) == len(self._known)
        same = (
            as_many
            and all(map(operator.is_, parts, self._modules))
            and all(
                weight.data_ptr() == known.data_ptr() and weight.dtype == known.dtype and weight._version == version
                for weight, (known, version) in zip(state, self._known, strict=True)
            )
        )
        if not same:
            self._modules, self._known = parts, [(weight, weight._version) for weight in state]
        return not same
