"""The reason of an error, and that a traceback ends with it."""

from __future__ import annotations

import importlib
import sys

import pytest
from monai.bundle import ConfigParser

from monai_cpic.errors import end_with_reason, reason
from monai_cpic.extras import extra


def failure(expression: str) -> Exception:
    """What MONAI makes of an error three parts below."""
    config = {"scans": expression, "data": "$@scans", "run": ["$@data"]}
    with pytest.raises(RuntimeError) as caught:
        ConfigParser(config).get_parsed_content("run")
    return caught.value


def test_the_reason_is_what_monai_wraps() -> None:
    wrapped = failure("$open('/nowhere/scan.nii')")
    assert isinstance(reason(wrapped), FileNotFoundError)
    assert reason(reason(wrapped)) is reason(wrapped)


def test_an_error_that_names_its_own_cause_is_the_reason() -> None:
    try:
        try:
            raise KeyError("Age")
        except KeyError as error:
            raise ValueError("table.csv has no column Age") from error
    except ValueError as error:
        assert reason(error) is error


def test_a_traceback_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    end_with_reason()
    for error in (failure("$open('/nowhere/scan.nii')"), ValueError("plain")):
        sys.excepthook(type(error), error, error.__traceback__)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "ValueError: plain"
    assert "The reason: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/scan.nii'" in lines


def test_a_hook_of_somebody_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(*_: object) -> None: ...

    monkeypatch.setattr(sys, "excepthook", theirs)
    end_with_reason()
    assert sys.excepthook is theirs


def test_a_missing_package_names_its_extra() -> None:
    with (
        pytest.raises(ImportError, match=r"^nothing_like_this is not installed: pip install 'monai-cpic\[zarr\]'$"),
        extra("zarr"),
    ):
        importlib.import_module("nothing_like_this.inside")
