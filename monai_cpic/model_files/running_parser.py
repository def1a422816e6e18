"""The configuration that is running."""

from __future__ import annotations

import inspect

from monai.bundle import ConfigParser

__all__ = ["running_parser"]


def running_parser() -> ConfigParser:
    """The :class:`monai.bundle.ConfigParser` that evaluates the calling ``$`` expression.

    MONAI gives an expression the values that it refers to, but not the parser, which alone knows how each part was configured:
    by the bundle's files, files given after them, and the command line.  It is therefore looked for among the callers.

    Raises:
        RuntimeError: if the caller is not an expression of a configuration.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigParser):
            return owner
        frame = frame.f_back
    raise RuntimeError("no configuration is running: call this in an expression ($...) of a MONAI configuration")
