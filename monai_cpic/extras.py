"""Optional packages: which extra of this package installs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["extra"]


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """A block of imports, some of which need packages that ``pip install 'monai-cpic[name]'`` brings.

    Raises:
        ImportError: if one is not installed; the message names it and the extra.

    Example:
        >>> with extra("bundles"):
        ...     import a_package_that_nobody_has
        Traceback (most recent call last):
        ImportError: a_package_that_nobody_has is not installed: pip install 'monai-cpic[bundles]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise ImportError(f"{package} is not installed: pip install 'monai-cpic[{name}]'") from error
