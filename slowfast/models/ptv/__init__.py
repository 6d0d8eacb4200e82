"""PyTorchVideo's networks behind the interface of the models here, under PySlowFast's names.

https://github.com/facebookresearch/pytorchvideo, an optional dependency: the network comes from
there, head and pooling windows from here, so that several tasks, other crops and logits work as
everywhere. Parameter names are PySlowFast's for these models (``model.`` before PyTorchVideo's),
so files of both projects load with ``strict=True``.

Three are also built here: PTVResNet, PTVSlowFast and PTVX3D as ResNet, SlowFast and X3D. Their
weights load into either (:mod:`slowfast.checkpoint.pytorchvideo`).
"""
