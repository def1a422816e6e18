"""``python -m monai_cpic.experiments``."""

if __name__ == "__main__":  # the processes of the engine import this file, too, and need nothing of the command
    import sys

    from monai_cpic.experiments.command import main

    sys.exit(main())
