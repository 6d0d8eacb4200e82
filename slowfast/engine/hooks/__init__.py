"""Things that happen around training steps. One small class each."""

from slowfast.engine.hook import Hook
from slowfast.engine.hooks.checkpoints import SaveCheckpoint
from slowfast.engine.hooks.evaluation import EarlyStopping, Evaluate
from slowfast.engine.hooks.logs import JsonLog, LogStats, ProgressBar
from slowfast.engine.hooks.tensorboard import TensorBoard
from slowfast.engine.hooks.weights import EMA, FrozenBN, PreciseBN

__all__ = [
    "EMA",
    "EarlyStopping",
    "Evaluate",
    "FrozenBN",
    "Hook",
    "JsonLog",
    "LogStats",
    "PreciseBN",
    "ProgressBar",
    "SaveCheckpoint",
    "TensorBoard",
]
