"""What went wrong, without the layers around it.

MONAI wraps an error once for each part of a configuration that was being built.  The message that says what to do then stands in
the middle of a long traceback.
"""

from __future__ import annotations

import sys
from types import TracebackType

__all__ = ["end_with_reason", "reason"]


def reason(error: BaseException) -> BaseException:
    """The error that MONAI's errors were raised from; the error itself if it is none of them.

    Example:
        >>> from monai.bundle import ConfigParser
        >>> try:
        ...     ConfigParser({"ratio": "$1 / 0", "run": "$@ratio"}).get_parsed_content("run")
        ... except RuntimeError as error:
        ...     reason(error)
        ZeroDivisionError('division by zero')
    """
    while error.__cause__ is not None and _raised_by_monai(error):
        error = error.__cause__
    return error


def end_with_reason() -> None:
    """Let the traceback of an error that nobody handles end with its :func:`reason`.

    Bundles call it first.  Where somebody else shows such errors (``sys.excepthook``), nothing is changed.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, traceback)
    found = reason(error)
    if found is not error:
        print(f"\nThe reason: {type(found).__name__}: {found}", file=sys.stderr)


def _raised_by_monai(error: BaseException) -> bool:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_globals["__name__"].partition(".")[0] == "monai"
