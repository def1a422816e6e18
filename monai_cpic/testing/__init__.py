"""Test cases for parts of one's own: derive from them, say which part is tested, and pytest runs what every such part must do."""

from monai_cpic.testing.decomposition import DecompositionTestCase
from monai_cpic.testing.encoder import EncoderTestCase

__all__ = ["DecompositionTestCase", "EncoderTestCase"]
