"""Checkpoint files and the weights in them."""

from slowfast.checkpoint.convert import read_weights
from slowfast.checkpoint.io import last_checkpoint, read_checkpoint, write_checkpoint
from slowfast.checkpoint.match import (
    CheckpointMismatch,
    MatchReport,
    clear_names,
    load_matching,
    load_strict,
)
from slowfast.checkpoint.resize import fit_to_checkpoint, fit_to_state_dict, fit_to_widths

__all__ = [
    "CheckpointMismatch",
    "MatchReport",
    "clear_names",
    "fit_to_checkpoint",
    "fit_to_state_dict",
    "fit_to_widths",
    "last_checkpoint",
    "load_matching",
    "load_strict",
    "read_checkpoint",
    "read_weights",
    "write_checkpoint",
]
