"""The README's training in a pipeline of MONAI's, as it stands there."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import REPOSITORY


def test_a_training_with_monais_engines(capsys: pytest.CaptureFixture[str]) -> None:
    """Default prepare_batch, dictionaries, DataLoader, validation and decollation."""
    text = (REPOSITORY / "README.md").read_text()
    found = re.search(r"\[start:engines\] -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    code = found[1]
    assert len(code.splitlines()) <= 30
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["predictions"]) == 4 and names["evaluator"].state.metrics["mse"] >= 0
    errors = [abs(guess - item["label"].item()) for guess, item in zip(names["predictions"], names["patients"][8:], strict=True)]
    assert sum(error**2 for error in errors) / 4 == pytest.approx(names["evaluator"].state.metrics["mse"], rel=1e-3)
