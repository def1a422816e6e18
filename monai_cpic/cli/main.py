"""The command and its subcommands.

Help, completion and wrong usage must not wait for torch: what a subcommand needs is imported when it runs.
"""

from __future__ import annotations

import click

from monai_cpic import __version__
from monai_cpic.cli.bundle_commands import copy_bundle, evaluate, predict, report, train
from monai_cpic.cli.command import Group
from monai_cpic.cli.data_commands import cache, simulate

__all__ = ["main"]

COMPLETION = """
Completion of commands and options: a line in ~/.bashrc (in ~/.zshrc with zsh_source)

\b
  eval "$(_MONAI_CPIC_COMPLETE=bash_source monai-cpic)"
"""


@click.group(cls=Group, epilog=COMPLETION, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="monai-cpic")
def main() -> None:
    """Predict a clinical target from whole CT and MRI scans."""


for command in (train, evaluate, predict, report, copy_bundle, simulate, cache):
    main.add_command(command)
