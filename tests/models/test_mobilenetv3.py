"""3-D MobileNetV3: published counts, cosine head, image weights, configs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slowfast.checkpoint import load_matching
from slowfast.checkpoint.match import compare
from slowfast.config import load_cfg
from slowfast.deploy.profile import count_macs, count_parameters
from slowfast.models import build_model
from slowfast.models.cosine import CosineModel
from slowfast.models.layers.cosine_head import CosineClassifier
from slowfast.models.layers.resnet2d import PretrainedError, _models
from slowfast.models.mobilenetv3 import VARIANTS, MobileNetV3

CONFIGS = Path(__file__).parents[2] / "configs"
S3D, X3D = ARCHS = ["s3d_mobilenetv3", "x3d_mobilenetv3_lgd_gc"]
TASKS = {"verb": 7, "noun": 5}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
LABELS = torch.tensor([0, 1, 2, 3])


def tiny(num_classes=4, **options):
    return MobileNetV3(num_classes=num_classes, **({"width_mult": 0.25} | options))


def clips(batch=4, frames=8, crop=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 3, frames, crop, crop, generator=generator)]


def wake(model):
    """Give local-global diffusion something to say, and running statistics that are not fresh."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "fc2_bn.weight")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif name.endswith("running_mean"):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model


# Published figures


@pytest.mark.parametrize(
    ("arch", "parameters", "published", "gmacs"),
    [(S3D, 4_115_070, 4.1151, 3.226), (X3D, 4_480_818, 4.4808, 2.253)],
)
def test_published_parameters_and_macs(arch, parameters, published, gmacs):
    with torch.device("meta"):
        model = MobileNetV3(num_classes=700, arch=arch)
    centres = 256 * 700
    assert count_parameters(model) == parameters + centres
    assert parameters / 1e6 == pytest.approx(published, rel=0.01)
    macs = count_macs(model, [(1, 3, 16, 224, 224)])
    assert macs / 1e9 == pytest.approx(gmacs, rel=0.001)


@pytest.mark.parametrize(("arch", "halved"), [(S3D, [1, 10]), (X3D, [4, 10])])
def test_published_sizes_of_the_maps(arch, halved):
    with torch.device("meta"):
        backbone = MobileNetV3(num_classes=4, arch=arch).backbone.eval()
        shapes = []
        for block in backbone.blocks:
            block.register_forward_hook(lambda _, __, out: shapes.append(out.shape[2:4]))
        assert backbone(torch.empty(1, 3, 16, 224, 224)).shape == (1, 960, 4, 7, 7)
    frames, heights = zip(*shapes, strict=True)
    assert [i for i in range(15) if frames[i] < (16, *frames)[i]] == halved
    assert heights == (112,) + (56,) * 2 + (28,) * 3 + (14,) * 7 + (7,) * 2


def test_width_multiplier_rounds_to_eights_and_leaves_the_embedding():
    model = MobileNetV3(num_classes=4, width_mult=0.35)
    widths = {m.out_channels for m in model.backbone.modules() if isinstance(m, nn.Conv3d)}
    gates = {m.out_channels for n, m in model.backbone.named_modules() if n.endswith("se.fc1")}
    assert all(width % 8 == 0 for width in widths - gates)
    assert model.backbone.num_features == 336
    assert model.num_features == 256


# Forms of the input


@pytest.mark.parametrize("frames", [8, 10, 16, 32])
@pytest.mark.parametrize("arch", ARCHS)
def test_clip_lengths(arch, frames):
    scores = tiny(arch=arch).eval().predict(clips(batch=2, frames=frames, crop=32))
    torch.testing.assert_close(scores.sum(1), torch.ones(2))


@pytest.mark.parametrize("crop", [64, 80, 96])
@pytest.mark.parametrize("arch", ARCHS)
def test_crops(arch, crop):
    assert tiny(arch=arch).eval()(clips(batch=1, crop=crop)).shape == (1, 4)


def test_too_few_frames():
    with pytest.raises(ValueError, match=r"3 frame\(s\) .* takes 4 or more \(DATA.NUM_FRAMES\)"):
        tiny().eval()(clips(frames=3))
    assert tiny(arch=X3D).eval()(clips(frames=1)).shape == (4, 4)


def test_unknown_arch():
    with pytest.raises(ValueError, match=r"MODEL.ARCH is 'small': .* MobileNetV3 has \['s3d_"):
        tiny(arch="small")


# Cosine head


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("arch", ARCHS)
def test_embeddings_cosines_logits_probabilities(arch, training):
    model = wake(tiny(arch=arch, scale=12.0)).train(training)
    assert isinstance(model, CosineModel)
    with torch.no_grad():
        features = model.forward_features(clips())
        cosines, logits = model.forward_cosines(features), model.forward_head(features)
        assert features.shape == (4, 256)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(4))
        expected = F.cosine_similarity(features[:, :, None], model.head.projection.weight.t(), 1)
        torch.testing.assert_close(cosines, expected, rtol=1e-4, atol=1e-5)
        assert cosines.abs().max() <= 1
        torch.testing.assert_close(logits, 12.0 * cosines)
        torch.testing.assert_close(model.predict(clips()), logits.softmax(1), atol=1e-5, rtol=1e-4)


def test_centres_are_of_length_one_and_any_weight_means_its_direction():
    classifier = CosineClassifier(16, 5)
    assert (classifier.in_features, classifier.out_features, classifier.bias) == (16, 5, None)
    features = F.normalize(torch.randn(3, 16), dim=1)
    before = classifier(features)
    with torch.no_grad():
        classifier.weight *= torch.tensor([0.1, 1.0, 2.0, 30.0, 4.0])[:, None]
    torch.testing.assert_close(classifier(features), before)
    torch.testing.assert_close(classifier.centres.norm(dim=0), torch.ones(5))
    torch.testing.assert_close(features @ classifier.centres, before)


def test_a_feature_on_its_centre_has_cosine_one_at_most():
    classifier = CosineClassifier(256, 64)
    cosines = classifier(classifier.centres.t()).diagonal()
    assert cosines.max() <= 1
    torch.testing.assert_close(cosines, torch.ones(64))


def test_tasks_have_centres_in_one_space():
    model = tiny(TASKS)
    logits = model(clips())
    assert {task: value.shape[1] for task, value in logits.items()} == TASKS
    cosines = model.forward_cosines(model.forward_features(clips()))
    assert all(value.abs().max() <= 1 for value in cosines.values())
    assert {task: tuple(c.shape) for task, c in model.centres.items()} == {
        "verb": (256, 7),
        "noun": (256, 5),
    }
    assert tuple(tiny({"verb": 3}).centres) == ("verb",)


def test_cosines_keep_full_precision_under_autocast():
    model = tiny()
    with torch.autocast("cpu", torch.bfloat16):
        features = model.forward_features(clips())
        logits = model(clips())
        assert model.backbone(clips()[0]).dtype == torch.bfloat16
    assert features.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.ones(4))
    logits.sum().backward()
    assert model.backbone.stem.conv.weight.grad.any()


@pytest.mark.parametrize("arch", ARCHS)
def test_cross_entropy_of_the_logits_learns(arch):
    torch.manual_seed(0)
    model, batch = tiny(arch=arch), clips(crop=32)
    optimizer = torch.optim.AdamW(model.parameters(), 0.002)
    for _ in range(10):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch), LABELS)
        loss.backward()
        optimizer.step()
    assert loss < 0.2
    assert torch.equal(model(batch).argmax(1), LABELS)


def test_probing_trains_the_centres_only():
    model = tiny(detach_head=True)
    model(clips()).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is not None] == [
        "head.projection.weight"
    ]


def test_a_head_for_other_classes_is_skipped_and_counted():
    model, other = tiny(4), tiny(9)
    report = compare(other, model.state_dict())
    assert report.heads == ["head.projection.weight"]
    assert "4 classes in the file, 9 here" in load_matching(other, model.state_dict()).table()


# Gradients and diffusion


@pytest.mark.parametrize("arch", ARCHS)
def test_every_trainable_parameter_gets_a_gradient(arch):
    """With batch norms in evaluation: in training, those before a linear layer and another batch
    norm have shifts that cancel."""
    model = wake(tiny(arch=arch)).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv3d):  # keeps the scale of what flows without batch statistics
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    F.cross_entropy(model(clips()), LABELS).backward()
    fixed = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert all(n.endswith("context.score_bn.bias") for n in fixed)  # what a softmax cannot see
    assert len(fixed) == (14 if arch == X3D else 0)
    trained = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, grad in trained.items() if grad is None or not grad.any()] == []


def test_a_fresh_network_with_diffusion_is_the_one_without():
    model = tiny(arch=X3D).train()
    with torch.no_grad():
        fresh = model(clips())
        spoken = wake(model)(clips())
        model.backbone.lgd = None
        assert torch.equal(model(clips()), fresh)
    assert (fresh - spoken).abs().max() > 1e-3


def test_diffusion_wakes_up_in_training():
    model = tiny(arch=X3D)
    paths = model.backbone.lgd
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for step in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(clips()), LABELS).backward()
        optimizer.step()
        reached = [path.fc1.weight.grad.any() for path in paths.to_global.values()]
        assert all(reached) if step else not any(reached)


@pytest.mark.parametrize("arch", ARCHS)
def test_blocks_with_a_skip_can_start_as_the_identity(arch):
    blocks = tiny(arch=arch, zero_final_bn=True).backbone.blocks
    silent = [i for i, block in enumerate(blocks) if not block.project_bn.weight.any()]
    assert silent == [i for i, block in enumerate(blocks) if block.has_skip]
    x = torch.randn(1, blocks[7].project.out_channels, 2, 4, 4)
    assert torch.equal(blocks[7](x), x)
    fresh = tiny(arch=arch).backbone.blocks
    assert all(block.project_bn.weight.all() for block in fresh)


@pytest.mark.parametrize("arch", ARCHS)
def test_checkpointed_activations_change_nothing(arch):
    results = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model = wake(tiny(arch=arch, act_checkpoint=checkpointed)).train()
        loss = F.cross_entropy(model(clips(crop=32)), LABELS)
        loss.backward()
        results.append([loss, *(p.grad for p in model.parameters()), *model.buffers()])
    pairs = [(a, b) for a, b in zip(*results, strict=True) if a is not None]
    assert len(pairs) > 300
    assert all(torch.equal(a, b) for a, b in pairs)


# Image weights


def image_network():
    """torchvision's network with our order in a block and our place of the last stride."""
    torch.manual_seed(0)
    network = _models().mobilenet_v3_large().eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)  # a part in a thousand of it is torchvision's epsilon
        elif name.endswith(("running_mean", ".bias")):
            tensor.normal_(std=0.1)
    for i in range(2, 16):
        parts = list(network.features[i].block)
        if len(parts) == 4:
            conv, norm, act = parts[1]
            width = 672 if i == 14 else conv.out_channels
            with torch.no_grad():  # channels and hidden units too many here: they must not act
                parts[2].fc1.weight[:, width:] = 0
                parts[2].fc2.weight[:, width // 4 :] = 0
                parts[3][0].weight[:, width:] = 0
            network.features[i].block = nn.Sequential(parts[0], conv, norm, parts[2], act, parts[3])
    depthwise = [
        next(m for m in network.features[i].modules() if getattr(m, "groups", 1) > 1)
        for i in (13, 14)
    ]
    depthwise[0].stride, depthwise[1].stride = (1, 1), (2, 2)
    network.features[14].use_res_connect = False
    return network


@pytest.mark.parametrize("arch", ARCHS)
def test_image_weights_see_every_frame_as_the_image_network_does(arch, tmp_path, monkeypatch):
    """Both strides over time at 1, so that frames stay apart."""
    network = image_network()
    torch.save(network_state(network), tmp_path / "image.pth")
    monkeypatch.setitem(VARIANTS, arch, replace(VARIANTS[arch], halved=()))
    model = MobileNetV3(num_classes=4, arch=arch, pretrained=str(tmp_path / "image.pth")).eval()
    clip = clips(batch=2, frames=5)[0]
    with torch.no_grad():
        maps = model.backbone(clip)
        for t in range(5):
            torch.testing.assert_close(maps[:, :, t], network.features(clip[:, :, t]), **CLOSE)


def network_state(network):
    """Under torchvision's own names, whatever the order of the parts is now."""
    names = list(_models().mobilenet_v3_large().state_dict())
    return dict(zip(names, network.state_dict().values(), strict=True))


def test_image_weights_leave_diffusion_and_head_alone(tmp_path):
    torch.save(network_state(image_network()), tmp_path / "image.pth")
    torch.manual_seed(0)
    fresh = MobileNetV3(num_classes=4, arch=X3D)
    torch.manual_seed(0)
    model = MobileNetV3(num_classes=4, arch=X3D, pretrained=str(tmp_path / "image.pth"))
    before = dict(fresh.named_parameters())
    kept = {n for n, p in model.named_parameters() if torch.equal(p, before[n])}
    assert kept == {n for n in before if n.startswith(("backbone.lgd.", "head."))}
    assert len(kept) > 240


def test_image_weights_need_the_full_width(tmp_path):
    torch.save(network_state(image_network()), tmp_path / "image.pth")
    with pytest.raises(PretrainedError, match=r"first 'stem.conv.weight'.*MODEL.WIDTH_MULT 1.0"):
        tiny(pretrained=str(tmp_path / "image.pth"))


def test_training_waits_for_the_image_weights_of_the_config(tmp_path):
    path = tmp_path / "image.pth"
    torch.save(network_state(image_network()), path)
    options = ["MODEL.ARCH", S3D, "MODEL.NUM_CLASSES", "4", "MODEL.PRETRAINED", str(path)]
    model = build_model(load_cfg(opts=options))
    with pytest.raises(PretrainedError, match="trained before its image weights"):
        model(clips())
    model.load_pretrained()
    assert model(clips(crop=32)).shape == (4, 4)
    again = build_model(load_cfg(opts=options))
    again.load_state_dict(model.state_dict())
    assert again(clips(crop=32)).shape == (4, 4)


# Configs


@pytest.mark.parametrize("name", ["S3D_MOBILENETV3", "X3D_MOBILENETV3_LGD_GC"])
def test_shipped_configs(name):
    full, small = (load_cfg(CONFIGS / d / f"{name}.yaml") for d in ("Custom", "Synthetic"))
    with torch.device("meta"):
        model = build_model(full)
    assert isinstance(model, MobileNetV3)
    embedding_and_before = count_parameters(model) - 256 * full.MODEL.NUM_CLASSES
    assert embedding_and_before == {"S": 4_115_070, "X": 4_480_818}[name[0]]
    assert model.scale == full.COSINE.SCALE == full.AM_SOFTMAX.SCALE_END
    assert small.MODEL.ARCH == full.MODEL.ARCH
    assert small.MODEL.WIDTH_MULT < 0.6
