"""The training loop and what plugs into it. Only ``build`` reads the config."""

from slowfast.engine.batches import BatchPreparation
from slowfast.engine.evaluate import evaluate
from slowfast.engine.hook import Hook
from slowfast.engine.objective import Objective, StepOutput, Supervised
from slowfast.engine.predictions import Predictions, load_predictions
from slowfast.engine.trainer import Trainer
from slowfast.engine.views import MissingViews

__all__ = [
    "BatchPreparation",
    "Hook",
    "MissingViews",
    "Objective",
    "Predictions",
    "StepOutput",
    "Supervised",
    "Trainer",
    "evaluate",
    "load_predictions",
]
