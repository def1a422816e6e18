"""Test cases for parts of your own: derive from them, supply the part and a dense reference.  They need pytest."""

from monai_cpic.testing.reader import ReaderTestCase
from monai_cpic.testing.volume import VolumeTestCase

__all__ = ["ReaderTestCase", "VolumeTestCase"]
