"""Nodes of single model families: one each."""

from __future__ import annotations

from slowfast.config.keys import Key, Tree

TINY: Tree = {
    "WIDTH": Key(8, "Channels of TinyNet, the model of the tests.", low=1, structural=True),
}

MOBILENET: Tree = {
    "TEMPORAL_STRIDES": Key(
        [],
        "Temporal stride of each of the first four groups of blocks; empty: [2, 2, 2, 2], fewer "
        "twos for clips shorter than 16 frames.",
        item=int,
        low=1,
        structural=True,
    ),
}

LSTM: Tree = {
    "STAGES": Key(
        4,
        "Stages of the ResNet. Fewer cost less and see less, at a higher resolution.",
        low=1,
        high=4,
        structural=True,
    ),
    "KEYPOINTS": Key(
        False,
        "Features of a frame tell also where each channel is found in the picture, and how far "
        "around. Averages alone forget it, which image weights make up for and little training "
        "does not.",
        structural=True,
    ),
    "HIDDEN_SIZE": Key(1024, "Units of the LSTM per direction.", low=1, structural=True),
    "NUM_LAYERS": Key(2, "Layers of the LSTM.", low=1, structural=True),
    "BIDIRECTIONAL": Key(
        True,
        "Read the clip backwards too; False: predictions need no later frame.",
        structural=True,
    ),
    "POOL": Key(
        "mean",
        "How the outputs over time become one feature: mean, or last (not of a bidirectional one).",
        options=("mean", "last"),
        structural=True,
    ),
    "DROPOUT_RATE": Key(0.3, "Probability of dropout between the layers.", low=0, high=1),
}

COSINE: Tree = {
    "EMBEDDING": Key(
        256, "Dimensions of the embedding whose direction is classified.", low=1, structural=True
    ),
    "SCALE": Key(
        16.0,
        "Logits are SCALE times the cosines between embedding and class centres, in [-1, 1]; of "
        "the predictions only, where the objective scales cosines itself.",
        low=1,
    ),
}

IMFE: Tree = {
    "CLASSIFIER": Key(
        False,
        "Classify the feature (MODEL.NUM_CLASSES); False: the output is the feature.",
        structural=True,
    ),
    "CORRELATION": Key(
        "local",
        "local: with a window around each position, any input size; all_pairs: with every "
        "position, as published, one input size.",
        options=("local", "all_pairs"),
        structural=True,
    ),
    "RADIUS": Key(4, "Of the local window, in positions of 8 pixels.", low=1, structural=True),
    "WIDTHS": Key(
        [],
        "Channels of the frame encoder: stem, second and third stage, output. Empty: [64, 96, "
        "128, 256] for all_pairs, [32, 64, 96, 128] for local.",
        item=int,
        low=1,
        structural=True,
    ),
}

MVIT: Tree = {
    "DEPTH": Key(16, "Attention blocks (PTVMViT, as all of this node).", low=1, structural=True),
    "EMBED_DIM": Key(96, "Channels of a token in the first block.", low=1, structural=True),
    "NUM_HEADS": Key(1, "Attention heads of the first block.", low=1, structural=True),
    "MLP_RATIO": Key(4.0, "Inner channels of an MLP over the token's.", low=0.1, structural=True),
    "QKV_BIAS": Key(True, "Queries, keys and values have a bias.", structural=True),
    "PATCH_KERNEL": Key([3, 7, 7], "Frames, height, width of a token.", low=1, structural=True),
    "PATCH_STRIDE": Key([2, 4, 4], "Distance of tokens: T, H, W.", low=1, structural=True),
    "PATCH_PADDING": Key([2, 4, 4], "Padding of the clip: T, H, W.", low=0, structural=True),
    "NORM_STEM": Key(False, "Normalise the tokens before the first block.", structural=True),
    "CLS_EMBED_ON": Key(
        True, "A class token is classified; False: the mean of all tokens.", structural=True
    ),
    "SEP_POS_EMBED": Key(
        False, "Positions in time and in space are learned apart and added.", structural=True
    ),
    "DIM_MUL": Key(
        [],
        "[[block, factor], ...]: blocks before which tokens get so much wider.",
        item=float,
        structural=True,
    ),
    "HEAD_MUL": Key([], "The same for the number of heads.", item=float, structural=True),
    "POOL_Q_STRIDE": Key(
        [],
        "[[block, t, h, w], ...]: blocks in which queries, and so tokens, get fewer.",
        item=int,
        structural=True,
    ),
    "POOL_KV_STRIDE": Key(
        [],
        "The same for keys and values; excludes MVIT.POOL_KV_STRIDE_ADAPTIVE.",
        item=int,
        structural=True,
    ),
    "POOL_KV_STRIDE_ADAPTIVE": Key(
        None,
        "Strides t, h, w of keys and values in the first block; they fall as queries get fewer.",
        types=(list,),
        item=int,
        structural=True,
    ),
    "POOL_KVQ_KERNEL": Key(
        None,
        "Kernel t, h, w of these poolings; None: one more than each stride above 1.",
        types=(list,),
        item=int,
        structural=True,
    ),
    "MODE": Key(
        "conv",
        "How tokens are pooled: conv (learned), avg or max.",
        options=("conv", "avg", "max"),
        structural=True,
    ),
    "POOL_FIRST": Key(
        False, "Pool before the projection to queries, keys and values.", structural=True
    ),
    "DROPOUT_RATE": Key(0.0, "Probability of dropout in the blocks.", low=0, high=1),
    "DROPPATH_RATE": Key(
        0.1, "Stochastic depth of the last block, growing linearly from 0.", low=0, high=1
    ),
}

NODES: Tree = {
    "TINY": TINY,
    "MOBILENET": MOBILENET,
    "LSTM": LSTM,
    "COSINE": COSINE,
    "IMFE": IMFE,
    "MVIT": MVIT,
}
