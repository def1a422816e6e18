"""The metrics are read back with json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_cpic.reporting.metrics_file import _plain, write_metrics


def test_metrics_are_plain_json_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metrics.json"
    metrics = {
        "z": np.float32(0.5),
        "a": torch.tensor(3, requires_grad=False),
        "nested": {"loss": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16, requires_grad=True), 0: np.int64(7)},
        "none": [None, float("inf"), -np.inf, np.longdouble(2), np.array(np.nan)],
        "flags": (True, np.bool_(False)),
        "text": "Ω",
    }
    write_metrics(path, metrics)
    write_metrics(path, metrics)  # replaces

    def forbidden(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=forbidden)
    assert list(read) == list(metrics)
    assert read == {
        "z": 0.5,
        "a": 3,
        "nested": {"loss": [1.5, None], "0": 7},
        "none": [None, None, None, 2.0, None],
        "flags": [True, False],
        "text": "Ω",
    }
    assert type(read["a"]) is int and list(path.parent.iterdir()) == [path]


def test_unknown_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'folds\[1\]\.when' is of type object"):
        write_metrics(tmp_path / "metrics.json", {"folds": [{}, {"when": object()}]})
    assert not list(tmp_path.iterdir())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(JSON)
def test_what_json_knows_is_kept(value: object) -> None:
    assert json.loads(json.dumps(_plain(value, ""))) == value
