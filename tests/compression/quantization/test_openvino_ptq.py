"""What NNCF rounds, and what it is kept from."""

import pytest
import torch

from slowfast.compression.quantization.fake_quant import find_sites
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.utils.openvino import openvino_core
from tests.compression.quantization.test_onnx_qdq import exported
from tests.models.streaming.oracle import as_clips, make_frames

CFG = ["DATA.INPUT_CHANNEL_NUM", "[3]", "DATA.NUM_FRAMES", "4", "DATA.TEST_CROP_SIZE", "32",
       "MODEL.NUM_CLASSES", "5", "MODEL.MODEL_NAME", "ResNetLSTM"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", [{}, {"bidirectional": False, "pool": "last"}])
@torch.no_grad()
def test_an_lstm_stays_in_float(form, tmp_path):
    pytest.importorskip("nncf")
    from slowfast.compression.quantization.openvino_ptq import OpenVinoQuantizer

    torch.manual_seed(0)
    model = ResNetLSTM(num_classes=5, depth=18, width=16, hidden_size=16, fc_std=5.0, **form)
    clips = [as_clips(make_frames(4, seed=seed)) for seed in range(8)]
    for clip in clips:
        model.train()(clip)  # batch norms
    expected = torch.cat([model.eval()(clip) for clip in clips])
    sites = find_sites(model, clips[0])
    quantizer = OpenVinoQuantizer(exported(model, tmp_path, CFG), sites, lambda: iter(clips), 8)
    run = openvino_core().compile_model(str(quantizer.write(tmp_path / "int8.xml")), "CPU")
    found = torch.cat([torch.from_numpy(run(clip[0].numpy())[0]) for clip in clips])
    expected, found = (x - x.mean(dim=0) for x in (expected, found))  # what tells clips apart
    noise = (found - expected).square().mean() / expected.square().mean()
    assert noise < 0.1, noise
