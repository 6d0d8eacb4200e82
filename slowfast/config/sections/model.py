"""MODEL and the nodes of PySlowFast's families; those of other families: families.py."""

from __future__ import annotations

from slowfast.config.keys import Key, Tree
from slowfast.config.sections import families

MODEL: Tree = {
    "ARCH": Key(
        "slowfast",
        "Architecture within a family: slowfast; c2d, i3d, slow, 2d, "
        "c2d_nopool, i3d_nopool (ResNet; nopool: no temporal pooling after res2); x3d; mobilenet; "
        "resnet_lstm; imfe; s3d_mobilenetv3, x3d_mobilenetv3_lgd_gc (MobileNetV3); "
        "csn, r2plus1d, mvit (PyTorchVideo's). "
        "Decides temporal kernels and the number of pathways. Where no YAML sets it, the one of "
        "MODEL_NAME is taken, if that has only one.",
        structural=True,
    ),
    "MODEL_NAME": Key(
        "SlowFast",
        "Entry of the model registry: SlowFast, ResNet, X3D, ... (docs/models.md). Where no YAML "
        "sets it, the family of MODEL.ARCH is taken.",
        structural=True,
    ),
    "NUM_CLASSES": Key(
        400,
        "Number of classes; for several tasks a list parallel to MODEL.TASKS, e.g. [97, 300].",
        types=(list,),
        item=int,
        low=1,
    ),
    "TASKS": Key(
        [],
        'Names of the tasks of a multi-task model, e.g. ["verb", "noun"]; empty: one task.',
        item=str,
    ),
    "LOSS_FUNC": Key(
        "cross_entropy",
        "Criterion: cross_entropy (one label), soft_cross_entropy (label distributions: mixup, "
        "label smoothing), bce_logit and its synonym bce (several labels per video; both on "
        "logits); am_softmax (models with a cosine head; node AM_SOFTMAX); mse and cosine regress "
        "stored features (TRAIN.DATASET features), cosine being 1 - their cosine.",
        options=(
            "cross_entropy",
            "soft_cross_entropy",
            "bce",
            "bce_logit",
            "mse",
            "cosine",
            "am_softmax",
        ),
    ),
    "LABEL_SMOOTHING": Key(
        0.0,
        "Share of the target spread evenly over all classes, without mixup. With "
        "MIXUP.ENABLE, MIXUP.LABEL_SMOOTH_VALUE is used instead.",
        low=0,
        high=1,
    ),
    "SINGLE_PATHWAY_ARCH": Key(
        [
            "2d",
            "c2d",
            "i3d",
            "slow",
            "x3d",
            "mvit",
            "maskmvit",
            "mobilenet",
            "tiny",
            "c2d_nopool",
            "i3d_nopool",
            "resnet_lstm",
            "imfe",
            "s3d_mobilenetv3",
            "x3d_mobilenetv3_lgd_gc",
            "csn",
            "r2plus1d",
        ],
        "Values of MODEL.ARCH that take one pathway.",
        item=str,
    ),
    "MULTI_PATHWAY_ARCH": Key(
        ["slowfast"], "Values of MODEL.ARCH that take a Slow and a Fast pathway.", item=str
    ),
    "DROPOUT_RATE": Key(0.5, "Probability of dropout before the classifier.", low=0, high=1),
    "DROPCONNECT_RATE": Key(
        0.0,
        "Stochastic depth: probability that a residual branch is dropped, growing linearly from "
        "res2 to res5. PySlowFast never applies it in training; here it works.",
        low=0,
        high=1,
    ),
    "FC_INIT_STD": Key(0.01, "Standard deviation of the classifier's initial weights.", low=0),
    "HEAD_ACT": Key(
        "softmax",
        "From logits to scores when predicting: softmax (one label), sigmoid (several labels), "
        "none. 'same' is read as none. Training always sees logits.",
        options=("softmax", "sigmoid", "none", "same"),
    ),
    "ACT_CHECKPOINT": Key(
        False, "Recompute the activations of each stage in backward: less memory, more time."
    ),
    "DETACH_FINAL_FC": Key(
        False, "Train the classifier only: no gradient flows from it into the network."
    ),
    "FROZEN_BN": Key(
        False, "Keep batch-norm running statistics fixed in training (finetuning, small batches)."
    ),
    "FP16_ALLREDUCE": Key(
        False, "PySlowFast's form of DISTRIBUTED.GRAD_COMPRESSION fp16: send gradients in half."
    ),
    "WIDTH_MULT": Key(
        1.0, "Width multiplier of the MobileNet families.", low=0.01, structural=True
    ),
    "MEMORY_FORMAT": Key(
        "auto",
        "Memory layout of weights and clips: contiguous, channels_last_3d, or auto (the faster "
        "one for the model and device).",
        options=("auto", "contiguous", "channels_last_3d"),
    ),
    "COMPILE": Key(False, "Run the model through torch.compile; the first steps take minutes."),
    "PRETRAINED": Key(
        "",
        "Weights of an image network to start from, of the families around one (ResNetLSTM, IMFE: "
        "a ResNet; MobileNetV3: its large form): a file, a URL, or imagenet (torchvision's, "
        "downloaded once). Empty: fresh ones.",
    ),
    "STREAMING": {
        "ENABLE": Key(
            False,
            "Train and test the clip model in the form that its stream computes "
            "(docs/streaming.md); weights are those of the plain form.",
            structural=True,
        ),
        "PADDING": Key(
            "zeros",
            "What temporal convolutions see outside a clip: zeros; replicate (the end frames); "
            "causal (zeros before, nothing ahead is seen: a stream without lookahead); valid "
            "(only values that no padding reaches are pooled: longer clips, and WINDOW).",
            options=("zeros", "replicate", "causal", "valid"),
            structural=True,
        ),
        "SQUEEZE": Key(
            "frame",
            "Means that X3D's squeeze-and-excitation uses: of each frame, running (of the last "
            "SQUEEZE_FRAMES), or frozen (of the training data).",
            options=("frame", "running", "frozen"),
            structural=True,
        ),
        "SQUEEZE_FRAMES": Key(
            0, "Frames of the running means; 0: those of the window.", low=0, structural=True
        ),
        "WINDOW": Key(
            0,
            "Frames a prediction of a stream is about (CoX3D's temporal_window_size); 0: "
            "DATA.NUM_FRAMES.",
            low=0,
            structural=True,
        ),
    },
}

RESNET: Tree = {
    "TRANS_FUNC": Key(
        "bottleneck_transform",
        "Residual branch of a block: bottleneck_transform (1x1, 3x3, 1x1), basic_transform "
        "(3x3, 3x3), x3d_transform (depthwise bottleneck, squeeze-excitation, Swish).",
        options=("bottleneck_transform", "basic_transform", "x3d_transform"),
        structural=True,
    ),
    "NUM_GROUPS": Key(
        1, "Groups of the 3x3 convolution; above 1: ResNeXt.", low=1, structural=True
    ),
    "WIDTH_PER_GROUP": Key(
        64, "Channels of each group in res2 (64 ResNet, 4 ResNeXt).", low=1, structural=True
    ),
    "INPLACE_RELU": Key(True, "ReLU overwrites its input: less memory, same result."),
    "STRIDE_1X1": Key(
        False,
        "Put the spatial stride on the first 1x1 convolution rather than the 3x3. As in "
        "PySlowFast, SlowFast does not read it.",
        structural=True,
    ),
    "ZERO_INIT_FINAL_BN": Key(
        False, "Start the last batch norm of each block at weight 0: a block begins as identity."
    ),
    "DEPTH": Key(
        50,
        "Layers of the ResNet; 34 and 152 of image ResNets only (ResNetLSTM, IMFE).",
        options=(18, 34, 50, 101, 152),
        structural=True,
    ),
    "NUM_BLOCK_TEMP_KERNEL": Key(
        [[3], [4], [6], [3]],
        "Per stage res2..res5 and pathway: how many blocks have the stage's temporal kernel; the "
        "rest have 1.",
        low=0,
        structural=True,
    ),
    "SPATIAL_STRIDES": Key(
        [[1], [2], [2], [2]],
        "Per stage res2..res5 and pathway: spatial stride of the first block.",
        low=1,
        structural=True,
    ),
    "SPATIAL_DILATIONS": Key(
        [[1], [1], [1], [1]],
        "Per stage res2..res5 and pathway: spatial dilation of the 3x3 convolutions.",
        low=1,
        structural=True,
    ),
}

SLOWFAST: Tree = {
    "BETA_INV": Key(
        8,
        "1/beta: the Fast pathway has 1/BETA_INV of the Slow pathway's channels.",
        low=1,
        structural=True,
    ),
    "ALPHA": Key(
        8,
        "alpha: the Fast pathway sees ALPHA times as many frames as the Slow one. Must divide "
        "DATA.NUM_FRAMES. No weight shape depends on it: compare configs, not shapes.",
        low=1,
        structural=True,
    ),
    "FUSION_CONV_CHANNEL_RATIO": Key(
        2,
        "Channels that a lateral connection adds to the Slow pathway, per Fast channel.",
        low=1,
        structural=True,
    ),
    "FUSION_KERNEL_SZ": Key(
        5, "Temporal kernel of the lateral convolutions, in Fast frames.", low=1, structural=True
    ),
}

X3D: Tree = {
    "WIDTH_FACTOR": Key(
        1.0, "gamma_w: multiplies the channels of every stage.", low=0.01, structural=True
    ),
    "DEPTH_FACTOR": Key(
        1.0,
        "gamma_d: multiplies the blocks of every stage (1, 2, 5, 3).",
        low=0.01,
        structural=True,
    ),
    "BOTTLENECK_FACTOR": Key(
        1.0,
        "gamma_b: inner channels of a block over its outer channels.",
        low=0.01,
        structural=True,
    ),
    "DIM_C5": Key(2048, "Features before the classifier.", low=1, structural=True),
    "DIM_C1": Key(12, "Stem channels before WIDTH_FACTOR.", low=1, structural=True),
    "SCALE_RES2": Key(False, "Double the channels of res2 as well.", structural=True),
    "BN_LIN5": Key(False, "Batch norm after the head's linear layer.", structural=True),
    "CHANNELWISE_3x3x3": Key(
        True, "Depthwise 3x3x3 convolutions; False: RESNET.NUM_GROUPS groups.", structural=True
    ),
}

NONLOCAL: Tree = {
    "LOCATION": Key(
        [[[]], [[]], [[]], [[]]],
        "Per stage res2..res5 and pathway: indices of the blocks followed by a non-local block.",
        item=int,
        low=0,
        structural=True,
    ),
    "GROUP": Key(
        [[1], [1], [1], [1]],
        "Per stage and pathway: temporal groups a clip is cut into, each attended by itself.",
        low=1,
        structural=True,
    ),
    "INSTANTIATION": Key(
        "dot_product",
        "Normalisation of the affinities: softmax, or dot_product (divide by their number).",
        options=("dot_product", "softmax"),
        structural=True,
    ),
    "POOL": Key(
        [[[1, 2, 2], [1, 2, 2]] for _ in range(4)],
        "Per stage and pathway: kernel (T, H, W) of the max pooling before keys and values.",
        low=1,
        structural=True,
    ),
}

BN: Tree = {
    "USE_PRECISE_STATS": Key(
        False, "Recompute batch-norm statistics from training clips before evaluating or saving."
    ),
    "NUM_BATCHES_PRECISE": Key(200, "Batches for the precise statistics.", low=1),
    "WEIGHT_DECAY": Key(0.0, "Weight decay of batch-norm weights and biases.", low=0),
    "NORM_TYPE": Key(
        "batchnorm",
        "batchnorm (statistics of each process), or sync_batchnorm (of all processes).",
        options=("batchnorm", "sync_batchnorm"),
    ),
    "NUM_SYNC_DEVICES": Key(
        1, "Devices that share statistics with sync_batchnorm; read, but all devices share.", low=1
    ),
    "GLOBAL_SYNC": Key(
        False, "Share statistics across machines too; sync_batchnorm always does here."
    ),
}

NODES: Tree = {
    "MODEL": MODEL,
    "RESNET": RESNET,
    "SLOWFAST": SLOWFAST,
    "X3D": X3D,
    "NONLOCAL": NONLOCAL,
    "BN": BN,
    **families.NODES,
}
