"""Test cases for parts of your own: derive from them, supply the part, and pytest runs what every such part must do."""

from monai_cpic.extras import extra

with extra("test"):
    from monai_cpic.testing.decomposition import DecompositionTestCase
    from monai_cpic.testing.encoder import EncoderTestCase
    from monai_cpic.testing.projection import ProjectionTestCase
    from monai_cpic.testing.reader import ReaderTestCase
    from monai_cpic.testing.readout import ReadoutTestCase
    from monai_cpic.testing.volume import VolumeTestCase

__all__ = [
    "DecompositionTestCase",
    "EncoderTestCase",
    "ProjectionTestCase",
    "ReaderTestCase",
    "ReadoutTestCase",
    "VolumeTestCase",
]
