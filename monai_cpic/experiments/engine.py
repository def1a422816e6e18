"""Where the jobs run: in processes of this machine, or wherever a scheduler of dask.distributed has workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor

from distributed import Client

__all__ = ["started_engine"]


@contextlib.contextmanager
def started_engine(scheduler: str | None = None, processes: int | None = None) -> Iterator[Executor]:
    """An executor of one job at a time in each process, in the order in which they are submitted.

    Reference: M. Rocklin, "Dask: Parallel Computation with Blocked algorithms and Task Scheduling", SciPy 2015.

    Args:
        scheduler: address of a running scheduler, such as ``tcp://node1:8786``, whose workers see the same disk and have this
            package; None: processes of this machine, which end with this one.
        processes: of this machine; None: one for each processor.
    """
    # a worker's own memory says nothing: each job is a process of its own
    local = {"n_workers": processes, "threads_per_worker": 1, "memory_limit": None, "dashboard_address": ":0"}
    with Client(scheduler) if scheduler else Client(**local) as client:
        yield client.get_executor(pure=False)
