"""Every config key, declared with its default and meaning; one file per group of nodes."""

from slowfast.config.keys import Tree
from slowfast.config.sections import data, model, tools, training

TREE: Tree = {**model.NODES, **data.NODES, **training.NODES, **tools.NODES}

__all__ = ["TREE"]
