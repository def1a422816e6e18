"""A loader that is one batch ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from monai.data import DataLoader

__all__ = ["OneAheadLoader"]


class OneAheadLoader(DataLoader):
    """MONAI's loader, whose next batch is read in a thread while the last one is computed with.

    It is for scans that :class:`~monai_cpic.transforms.KeepOnDeviced` copies to an accelerator, which worker processes cannot.
    Batches are those of MONAI's loader, in the same order, and an error in the thread is raised where its batch is asked for.

    Args:
        dataset: the items.
        ahead: whether to read ahead; if not, it is MONAI's loader.
        options: of MONAI's loader.

    Raises:
        ValueError: if it shall read ahead and have worker processes as well.

    Example:
        >>> [batch.tolist() for batch in OneAheadLoader([1, 2, 3], batch_size=2)]
        [[1, 2], [3]]
    """

    def __init__(self, dataset: Any, *, ahead: bool = True, **options: Any) -> None:
        super().__init__(dataset, **options)
        if ahead and self.num_workers:
            raise ValueError(
                f"num_workers={self.num_workers}: processes cannot share an accelerator's memory with the network; set it to 0, "
                "or keep no scans there (scans_on_device of the bundles)"
            )
        self.ahead = ahead

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises a class that nobody needs
        batches = super().__iter__()
        return _one_ahead(batches) if self.ahead else batches


def _one_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    with ThreadPoolExecutor(1, "next batch") as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch
