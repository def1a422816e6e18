"""The volume at lower resolutions: levels, which are averaged over blocks of voxels."""
