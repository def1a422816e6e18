"""Subcommands whose errors are one line that says what to do."""

from __future__ import annotations

from typing import Any

import click

from monai_cpic.errors import reason

__all__ = ["Command", "Group"]

EXPECTED = (ValueError, TypeError, RuntimeError, OSError, ImportError)  # whose messages speak for themselves


class Command(click.Command):
    """A command that ends with the :func:`~monai_cpic.errors.reason` of an error, or with its traceback after ``--debug``."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show where an error arose."))

    def invoke(self, context: click.Context) -> Any:
        debug = context.params.pop("debug")
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if debug:
                raise
            found = reason(error)
            name = "" if isinstance(found, EXPECTED) else f"{type(found).__name__}: "
            raise click.ClickException(f"{name}{found}") from error


class Group(click.Group):
    """Commands of this kind."""

    command_class = Command
