"""One training at a time in a folder, and nothing unfinished in it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monai_cpic.handlers import OutputFolder

HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1] + "/.training.lock")
lock.acquire()
print("taken", flush=True)
time.sleep(60)
"""


def test_a_second_training_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first, second = OutputFolder(tmp_path / "runs"), OutputFolder(tmp_path / "runs")
    first.lock()
    with pytest.raises(RuntimeError, match=r"another training is writing to .*runs: wait .* or choose another output_dir"):
        second.lock()
    first.release()
    second.lock()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "taken\n"
        with pytest.raises(RuntimeError, match="another training"):
            OutputFolder(tmp_path).lock()
        other.send_signal(signal.SIGKILL)
    OutputFolder(tmp_path).lock()


def test_what_a_killed_training_left_unfinished_goes(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-x").mkdir()
    (tmp_path / ".unfinished-x" / "model.pt").touch()
    (tmp_path / "model.pt").touch()
    OutputFolder(tmp_path).lock()
    assert {path.name for path in tmp_path.iterdir()} <= {"model.pt", ".training.lock"}
