"""Faults put into a run on purpose, and that what was finished stays and the next run completes the rest."""
