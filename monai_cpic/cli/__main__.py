"""The command where launchers of several processes want a module: ``torchrun … -m monai_cpic.cli …``."""

from monai_cpic.cli.main import main

if __name__ == "__main__":
    main()
