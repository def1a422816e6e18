"""What a log file and a terminal get of a training's progress."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
import torch
from ignite.engine import Engine

from monai_cpic.handlers import History, ShowProgress


class Terminal(io.StringIO):
    """A text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def train() -> None:
    trainer = Engine(lambda engine, batch: {"loss": torch.tensor(batch)})
    history = History()
    history.attach(trainer)
    ShowProgress(history).attach(trainer)
    trainer.run([1.0, 2.0], max_epochs=3)


def test_a_log_file_has_one_line_for_each_epoch(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO, "monai_cpic"):
        train()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("monai_cpic")]
    assert lines == [f"Epoch {epoch} of 3: loss 1.5, 00:00 left" for epoch in (1, 2, 3)]
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar_for_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    train()
    shown = re.findall(r"Epoch \[(\d)/3\]: \[\d/2\][^\r]*loss=2 \[[\d:]+<", terminal.getvalue())
    assert shown == ["1", "2", "3"]
