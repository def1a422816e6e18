"""Regress clinical targets from whole CT and MRI scans at full resolution: C-PIC as a MONAI plugin."""

__version__ = "0.2.0"
