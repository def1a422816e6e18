"""A job ends with the process that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """
imports:
- $import os
- $import time
initialize:
- $open(@output_dir + '/begun', 'w').write(str(os.getpid()))
- $time.sleep(3600)
"""
PARENT = """
import sys
from pathlib import Path
from monai_cpic.experiments.runs import Job, run_alone
folder = Path(sys.argv[1])
run_alone(Job("sleeper", folder / "job", ["train.yaml"], {"output_dir": str(folder / "job")}), str(folder))
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_job_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.yaml").write_text(CONFIG)
    begun = tmp_path / "job" / "begun"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        while not (begun.exists() and begun.read_text()):
            assert parent.poll() is None, (tmp_path / "job" / "log.txt").read_text()
            time.sleep(0.1)
        child = int(begun.read_text())
        os.kill(child, 0)  # it is there
        parent.kill()
    with contextlib.suppress(ProcessLookupError):
        for _ in range(600):
            os.kill(child, 0)
            time.sleep(0.1)
        os.kill(child, signal.SIGKILL)
        pytest.fail("the job is still running")
