"""The index over all clips, and search by photo."""
