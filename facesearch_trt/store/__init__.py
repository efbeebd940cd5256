"""What is written for a clip and read back: tables, pictures, embeddings, and the record of how they were made."""

from __future__ import annotations

from .clip import ClipStore
from .record import Counts, Model, RunRecord, Source, StepState
from .schema import COMMANDS, STEPS, StepName
from .writer import ClipWriter, Keep

__all__ = [
    "COMMANDS",
    "STEPS",
    "ClipStore",
    "ClipWriter",
    "Counts",
    "Keep",
    "Model",
    "RunRecord",
    "Source",
    "StepName",
    "StepState",
]
