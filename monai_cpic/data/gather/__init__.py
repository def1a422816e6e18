"""Patches of stored voxels: index arithmetic, grids other than the stored one, interpolation."""
