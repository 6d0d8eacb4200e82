"""The benchmarks measure what they say; how fast the machine is does not matter here."""

import time

import pytest
import torch
from torch import nn

from slowfast.config import load_cfg
from slowfast.datasets.batch import Batch
from slowfast.datasets.sampling import ClipSampler
from slowfast.deploy.benchmarks.loader import (
    ReferenceClips,
    reference_loader,
    time_loaders,
    time_test_views,
)
from slowfast.deploy.benchmarks.reference import (
    build_clip_reference,
    build_reference_model,
    reference_step,
)
from slowfast.deploy.benchmarks.train_step import (
    WaitMeter,
    hand_written_steps,
    loop_overhead_s,
    trainer_steps,
)
from slowfast.engine.objective import Supervised
from slowfast.engine.trainer import Trainer
from slowfast.models.build import build_model
from slowfast.models.profile import count_parameters
from slowfast.models.tiny import TinyNet
from tests.videos import write_video


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "clip.mp4", num_frames=60)


def make_batch(size=2):
    clips = [torch.rand(size, 3, 2, 8, 8)]
    labels = torch.arange(size) % 2
    return Batch(clips, labels, torch.arange(size), torch.zeros(size, 2), {})


def make_trainer(seed=0, batches=3, **options):
    torch.manual_seed(seed)
    model = TinyNet(num_classes=2, width=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    objective = Supervised(model, nn.CrossEntropyLoss())
    return Trainer(objective, optimizer, lambda epoch: 0.1, [make_batch()] * batches, **options)


def weights(trainer):
    return nn.utils.parameters_to_vector(trainer.objective.parameters()).detach()


def test_both_loops_do_the_same_training():
    ours, plain = make_trainer(), make_trainer()
    trainer_steps(ours)()
    hand_written_steps(plain)()
    assert torch.equal(weights(ours), weights(plain))
    assert not torch.equal(weights(ours), weights(make_trainer()))


def test_reference_step_is_a_sgd_step():
    trainer = make_trainer()
    batch, model = make_batch(), trainer.objective.model
    before = weights(trainer)
    wrapped = nn.Module()
    wrapped.forward = lambda clips: model([clips])
    wrapped.parameters = model.parameters
    reference_step(wrapped, batch.clips, batch.labels)()
    assert not torch.equal(weights(trainer), before)


@pytest.mark.parametrize(
    ("config", "opts"),
    [
        ("Kinetics/X3D_XS", ["X3D.DIM_C1", "24"]),
        ("Kinetics/SLOWFAST_8x8_R50", ["RESNET.WIDTH_PER_GROUP", "16", "SLOWFAST.BETA_INV", "4"]),
    ],
)
def test_the_reference_is_the_network_of_the_config(config, opts):
    pytest.importorskip("pytorchvideo")
    cfg = load_cfg(f"configs/{config}.yaml", opts)
    ours, theirs = count_parameters(build_model(cfg)), count_parameters(build_reference_model(cfg))
    assert theirs == pytest.approx(ours, rel=1e-3)  # the zoo rounds widths of gates otherwise


def test_where_the_zoo_has_no_such_network_ours_runs_its_way():
    cfg = load_cfg("configs/Synthetic/SLOWFAST_T.yaml")
    assert cfg.RESNET.DEPTH == 18
    run, layers = build_clip_reference(cfg, build_model(cfg))
    assert layers == "our layers"
    assert run().shape == (1, 61)
    with pytest.raises(ValueError, match=r"SlowFast of RESNET.DEPTH 18: --reference knows X3D"):
        build_reference_model(cfg)


def test_loop_overhead_is_a_fraction_of_a_millisecond_or_so():
    overhead = loop_overhead_s(make_trainer(batches=5), warmup=1, repeats=3)
    assert -0.01 < overhead < 0.05


def test_wait_meter_counts_a_slow_loader():
    class Slow(list):
        def __iter__(self):
            for batch in list.__iter__(self):
                time.sleep(0.02)
                yield batch

    meter = WaitMeter()
    trainer = make_trainer(hooks=[meter])
    trainer.loader = Slow([make_batch()] * 4)
    trainer.fit(1)
    assert 0.06 <= meter.waited_s <= meter.total_s
    assert 0.5 < meter.share <= 1


def test_reference_clips_have_the_asked_shape(video):
    dataset = ReferenceClips([video] * 5, ClipSampler(4, 2), jitter_scales=(36, 40), crop_size=32)
    loader = reference_loader(dataset, batch_size=2, num_workers=0)
    clips, _ = next(iter(loader))
    assert clips.shape == (2, 3, 4, 32, 32)
    assert clips.dtype == torch.float32
    timings = time_loaders({"a": loader, "b": loader}, batches=1, rounds=2)
    assert [len(t.seconds) for t in timings.values()] == [2, 2]


def test_a_loader_of_one_batch_cannot_be_timed():
    with pytest.raises(ValueError, match=r"single batch.*TRAIN\.BATCH_SIZE"):
        time_loaders({"a": [1]}, batches=1, rounds=1)


def test_one_decode_is_faster_than_one_per_view(video):
    timings = time_test_views(
        video, ClipSampler(4, 2, num_views=5), num_crops=3, short_side=32, repeats=1
    )
    assert timings["once"].median_s < timings["per_view"].median_s
