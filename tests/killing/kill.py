"""Kill processes while they write, again and again, and look at what they leave.

    python tests/killing/kill.py FOLDER [--kills 200] [--only cache]

Half of the kills (SIGKILL) are aimed: at one of the moments at which a process opens a file for writing, makes, renames or
removes one, all of them in turn.  The other half come at random times.  Each process goes on from what the killed ones left.
Prints for each kind of work how many kills left something unfinished; ends with an error as soon as something is lost.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scenarios import SCENARIOS, Scenario
from tqdm import tqdm

__all__ = ["kill_often"]

CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.utime", "shutil.rmtree", "fcntl.flock"}
LONGEST = 300  # seconds that a process may take, whatever becomes of its parent


def kill_often(make: type[Scenario], folder: Path, kills: int, seed: int = 0) -> dict[str, int]:
    """Kill one kind of work.

    Args:
        make: the work.
        folder: an empty folder.
        kills: their number; every other one is aimed.
        seed: of the random times.

    Returns:
        the numbers of ``kills``, of those that were ``aimed``, of ``changes`` in one process, and of kills after which something
        ``unfinished`` was there.

    Raises:
        AssertionError: if something is lost, is not whole or differs, or if something unfinished remains in the end.
    """
    folder.mkdir(parents=True)
    work, chance, left, moments = make(folder), random.Random(seed), 0, list[int]()
    began = time.monotonic()
    changes = _changes(partial(work.act, 0))
    duration = time.monotonic() - began
    for turn in range(1, kills + 1):
        others = [_start(partial(work.act, turn)) for _ in range(work.companions)]
        if turn % 2:
            moments = moments or chance.sample(range(changes), changes)
            process = _start(partial(work.act, turn), at=moments.pop())
        else:
            process = _start(partial(work.act, turn))
            time.sleep(chance.uniform(0, duration))
            os.kill(process, signal.SIGKILL)
        assert _ends(process) in (0, -signal.SIGKILL), "it fails after a kill"
        left += any(map(_is_left, _locks(folder)))
        for other in others:
            assert not _ends(other), "another process failed"
        work.check()
    for turn in range(kills + 1, kills + 9):
        assert not _ends(_start(partial(work.act, turn))), "it fails after the kills"
    work.check()
    assert not list(folder.rglob(".unfinished-*")), "something unfinished remains"
    return {"kills": kills, "aimed": (kills + 1) // 2, "changes": changes, "unfinished": left}


def _start(act: Callable[[], Any], at: int | None = None, report: int | None = None) -> int:
    """A process that acts, and is killed before its change number ``at``; it writes to ``report`` how many it has made."""
    process = os.fork()
    if process:
        return process
    signal.alarm(LONGEST)
    tqdm.set_lock(threading.RLock())  # all forks share tqdm's own, also one that is killed while it holds it
    changes = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        if event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            if changes == at:
                os.kill(os.getpid(), signal.SIGKILL)
            changes += 1

    sys.addaudithook(count)
    try:
        act()
        if report is not None:
            os.write(report, str(changes).encode())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _changes(act: Callable[[], Any]) -> int:
    """The number of changes of a process that is not killed."""
    there, here = os.pipe()
    assert not _ends(_start(act, report=here)), "it fails without a kill"
    return int(os.read(there, 20))


def _locks(folder: Path) -> list[Path]:
    """The lock files of what is unfinished; other processes may remove folders in the meantime."""
    return [Path(at) / name for at, _, names in os.walk(folder) for name in names if re.fullmatch(r"\.unfinished-.*\.lock", name)]


def _is_left(lock: Path) -> bool:
    """Whether nobody holds a lock file any more."""
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def _ends(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main() -> None:
    """Kill every kind of work, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200, help="of each kind of work")
    parser.add_argument("--only", choices=SCENARIOS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in [arguments.only] if arguments.only else SCENARIOS:
        print(json.dumps({name: kill_often(SCENARIOS[name], arguments.folder / name, arguments.kills)}), flush=True)


if __name__ == "__main__":
    main()
