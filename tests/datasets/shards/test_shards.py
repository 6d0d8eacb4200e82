"""Shards give the clips that the files themselves give, to every process exactly once."""

import io
import itertools
import json
import os
import shutil
import tarfile
from typing import ClassVar

import fsspec
import numpy as np
import pytest
import torch
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from slowfast.config import load_cfg
from slowfast.datasets.base import DataError
from slowfast.datasets.build import build_dataset, build_family, build_loader
from slowfast.datasets.decode import VideoError
from slowfast.datasets.shards import make, record, storage
from slowfast.datasets.shards.index import read_index, scan_shard
from slowfast.datasets.shards.order import ShardOrder, through_buffer
from slowfast.datasets.shards.write import Limits, write_shards
from tests.small import write_config
from tests.videos import write_video
from tools.check_data import main as check_data
from tools.make_shards import main as make_shards
from tools.run_net import main as run_net

COUNTS = {"train": 11, "val": 5}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A list of distinct videos; returns the config file."""
    root = tmp_path_factory.mktemp("files")
    for split, count in COUNTS.items():
        rows = []
        for i in range(count):
            write_video(root / f"videos/{split}{i}.mp4", 16 + i, size=(64 + 2 * i, 48))
            rows.append(f"videos/{split}{i}.mp4 {i % 2}\n")
        (root / f"{split}.csv").write_text("".join(rows))
    changes = "TRAIN: {DATASET: kinetics, BATCH_SIZE: 2}\nTEST: {DATASET: kinetics}\n"
    return write_config(root / "files.yaml", root, changes)


@pytest.fixture(scope="module")
def shards(files, tmp_path_factory):
    """The same videos in shards of four; returns their folder."""
    root = tmp_path_factory.mktemp("shards")
    with pytest.raises(SystemExit, match="0"):
        make_shards(["--cfg", str(files), "--output_dir", str(root), "--shard_samples", "4"])
    return root


def config(files, root, *more):
    words = ["TRAIN.DATASET", "shards", "TEST.DATASET", "shards", "DATA.PATH_TO_DATA_DIR", root]
    return load_cfg(files, [str(word) for word in [*words, *more]])


def clips_of(loader, epoch=0):
    loader.set_epoch(epoch)
    return [
        (ident, name, clip.numpy().tobytes())
        for batch in loader
        for ident, name, clip in zip(
            batch.clip_ids.tolist(), batch.meta["names"], batch.clips[0], strict=True
        )
    ]


def test_layout(shards):
    index = read_index(str(shards / "train"))
    assert [len(shard.samples) for shard in index.shards] == [4, 4, 3]
    assert sorted(os.listdir(shards / "train")) == [
        "index.json", *(f"shard-{i:06d}.tar" for i in range(3))
    ]  # fmt: skip
    for shard in index.shards:
        assert scan_shard(str(shards / "train"), shard.name) == shard
    with tarfile.open(shards / "train/shard-000001.tar") as tar:
        assert tar.getnames()[:3] == ["00000004.mp4", "00000004.json", "00000004.cls"]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_same_items_as_from_files(files, shards, split):
    """Bit for bit: frames, crops, labels, times, names."""
    ours, theirs = (build_dataset(cfg, split) for cfg in (config(files, shards), load_cfg(files)))
    assert len(ours) == len(theirs) == COUNTS.get(split, 5)
    for index in range(len(ours)):
        one, other = ours[2, index], theirs[2, index]
        assert torch.equal(one.clips, other.clips)
        assert torch.equal(one.times, other.times)
        assert (one.labels, one.name, one.spans) == (other.labels, other.name, other.spans)


@pytest.mark.parametrize("backend", ["pyav", "opencv"])
def test_every_decoder_reads_from_memory(files, shards, backend):
    ours, theirs = (
        build_dataset(cfg, "val")
        for cfg in (
            config(files, shards, "DATA.DECODING_BACKEND", backend),
            load_cfg(files, ["DATA.DECODING_BACKEND", backend]),
        )
    )
    assert torch.equal(ours[0, 1].clips, theirs[0, 1].clips)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_order_takes_each_once_and_equally_many(world_size):
    layout = tuple(tuple(range(10 * i, 10 * i + size)) for i, size in enumerate((5, 10, 1, 7)))
    for buffer, streams, batch in itertools.product((1, 3, 100), (1, 2, 8), (1, 2, 5)):
        order = ShardOrder(layout, seed=1, buffer=buffer, streams=streams)
        parts = [
            order(3, rank=r, world_size=world_size, batch_size=batch) for r in range(world_size)
        ]
        assert {len(part) for part in parts} == {23 // world_size}
        taken = [number for part in parts for number in part]
        assert len(set(taken)) == len(taken)
        if world_size == 1:
            assert sorted(taken) == sorted(itertools.chain(*layout))
            assert order(3, rank=0, world_size=1, batch_size=batch) == taken
            assert order(4, rank=0, world_size=1, batch_size=batch) != taken


def test_streams_read_from_front_to_back():
    """A worker that takes every second batch passes once over its half, but for the buffer."""
    order = ShardOrder((tuple(range(1000)),), buffer=20, streams=2)
    row = np.array(order(0, rank=0, world_size=1, batch_size=10)).reshape(-1, 2, 10)
    for worker in range(2):
        piece = row[:, worker].ravel()
        assert set(piece) == set(range(500 * worker, 500 * worker + 500))
        places = piece - 500 * worker
        assert (places < np.arange(500) + 20).all()  # nothing from beyond the buffer
        assert np.abs(np.diff(places)).max() < 200
    generator = torch.Generator().manual_seed(0)
    firsts = [through_buffer(range(4), 4, generator)[0] for _ in range(400)]
    assert min(np.bincount(firsts)) > 60


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_the_videos(files, shards, world_size, workers, monkeypatch):
    """Validation: all, once each. Training: equal steps, none doubled, whatever the workers."""
    monkeypatch.setattr("slowfast.datasets.build.count_workers", lambda wanted, processes: wanted)
    cfg = config(files, shards, "DATA_LOADER.NUM_WORKERS", workers, "TRAIN.BATCH_SIZE", 6,
                 "SHARDS.STREAMS", 2)  # fmt: skip
    seen = {"train": [], "val": []}
    for split, rank in itertools.product(seen, range(world_size)):
        loader = build_loader(cfg, split, rank=rank, world_size=world_size)
        ids = [ident for batch in loader for ident in batch.clip_ids.tolist()]
        if split == "train":
            assert len(loader) == 1
            assert len(ids) == 6 // world_size
        seen[split] += ids
    assert sorted(seen["val"]) == list(range(5))
    assert len(set(seen["train"])) == len(seen["train"]) == 6


def test_workers_change_nothing_and_resumption_is_exact(files, shards, monkeypatch):
    monkeypatch.setattr("slowfast.datasets.build.count_workers", lambda wanted, processes: wanted)
    keys = ("SHARDS.STREAMS", 2, "SHARDS.BUFFER", 3, "DATA_LOADER.NUM_WORKERS")
    whole = clips_of(build_loader(config(files, shards, *keys, 0), "train"), epoch=1)
    assert len({ident for ident, _, _ in whole}) == len(whole) == 10
    for workers, batches in ((0, 3), (2, 2)):
        loader = build_loader(config(files, shards, *keys, workers), "train")
        loader.skip([loader.part(batches)], batches)
        assert clips_of(loader, epoch=1) == whole[2 * batches :]
        assert clips_of(loader, epoch=1) == whole


def test_memory_filesystem(files, shards):
    """Anything that fsspec opens: the same clips, by ranges of bytes."""
    system = fsspec.filesystem("memory")
    system.put(str(shards), "/k", recursive=True)
    try:
        ours, local = config(files, "memory://k"), config(files, shards)
        for split in ("train", "val"):
            assert clips_of(build_loader(ours, split)) == clips_of(build_loader(local, split))
        assert make.verify_folder("memory://k/train") == 0
        assert build_family(ours, "test").records("test")[0].path.startswith("memory://k/val/")
    finally:
        storage.FILES.forget()
        system.rm("/k", recursive=True)


def test_missing_index_names_the_tool(files, tmp_path):
    for root in (tmp_path, "memory://nothing"):
        with pytest.raises(DataError, match=r"index\.json: cannot be read .*make_shards"):
            build_dataset(config(files, root), "train")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 1}', '{"format": "slowfast shards 1"}']
)
def test_broken_index_is_one_error(files, tmp_path, text):
    (tmp_path / "val").mkdir()
    (tmp_path / "val/index.json").write_text(text)
    with pytest.raises(DataError, match="not an index of shards"):
        build_dataset(config(files, tmp_path), "val")


def test_labels_the_model_does_not_have(files, shards):
    with pytest.raises(ValueError, match=r"shard-000000.tar::00000001.mp4: label is '?1'?, "):
        build_dataset(config(files, shards, "MODEL.NUM_CLASSES", 1), "val")


@pytest.fixture
def damaged(shards, tmp_path):
    """A copy to be damaged."""
    shutil.copytree(shards, tmp_path / "copy")
    yield tmp_path / "copy"
    storage.FILES.forget()


def damage(folder, kind):
    """Spoil the third shard of training or the first of validation; returns the member hit."""
    name = "shard-000002.tar" if folder.name == "train" else "shard-000000.tar"
    sample = read_index(str(folder)).shards[int(name[11])].samples[-1 if kind == "cut" else 1]
    data = bytearray((folder / name).read_bytes())
    if kind == "cut":
        del data[sample.offset + sample.size // 2 :]
    elif kind == "flip":
        data[sample.offset + sample.size // 2] ^= 4
    else:
        data[sample.offset - 512] ^= 4  # the member's name, so its header's checksum
    (folder / name).write_bytes(data)
    return f"{name}::{sample.member}"


CAUSES = {"cut": "cut short", "flip": "CRC-32", "header": "no such member"}


@pytest.mark.parametrize("kind", CAUSES)
def test_damage_is_named(files, damaged, kind):
    """Training counts the sample and goes on; validation and the index tool stop."""
    member = damage(damaged / "train", kind)
    cfg = config(files, damaged, "TRAIN.BATCH_SIZE", 11)
    loader = build_loader(cfg, "train")
    assert len(clips_of(loader)) == 11
    assert [path.endswith(member) for path in loader.bad_videos] == [True]
    assert CAUSES[kind] in next(iter(loader.bad_videos.values()))
    with pytest.raises(DataError, match=CAUSES[kind]):
        clips_of(build_loader(config(files, damaged, "DATA.MAX_BAD_VIDEOS", 0,
                                     "TRAIN.BATCH_SIZE", 11), "train"))  # fmt: skip
    assert make.verify_folder(str(damaged / "train")) == 1
    member = damage(damaged / "val", kind)
    with pytest.raises((DataError, VideoError), match=member.split("::")[0]) as error:
        clips_of(build_loader(config(files, damaged), "val"))
    assert kind == "cut" or member in str(error.value)


def test_shard_that_is_not_there(files, damaged):
    (damaged / "train/shard-000001.tar").unlink()
    loader = build_loader(config(files, damaged, "TRAIN.BATCH_SIZE", 11), "train")
    clips_of(loader)
    assert len(loader.bad_videos) == 4
    (damaged / "val/shard-000001.tar").unlink()
    with pytest.raises(DataError, match=r"shard-000001.tar: 0 bytes, the index says"):
        build_loader(config(files, damaged), "val")


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.mp4": b"x"}, r"one.tar::a: no a.json and no a.cls"),
        ({"a.json": b"1"}, r"sample 'a' has 0 videos"),
        ({"a.mp4": b"x", "a.json": b"{"}, r"one.tar::a.json: cannot be read"),
        ({"a.mp4": b"x", "a.json": b'{"x": 1}'}, r"one.tar::a.json: neither 'label' nor"),
        ({"a.mp4": b"x", "a.json": b'{"clips": 3}'}, r"one.tar::a.json: 'clips' is not"),
        ({"a.mp4": b"x", "b.mp4": b"x", "a.cls": b"1"}, r"one.tar::a: no a.json"),
    ],
)
def test_tar_files_that_are_no_samples(tmp_path, members, message):
    write_tar(tmp_path / "one.tar", members)
    with pytest.raises(DataError, match=message):
        make.index_folder(tmp_path)


def test_tar_files_that_are_none(tmp_path, shards):
    whole = (shards / "train/shard-000000.tar").read_bytes()
    sample = read_index(str(shards / "train")).shards[0].samples[2]
    bad_header = bytearray(whole)
    bad_header[sample.offset - 400] ^= 1
    for data in (b"", b"x" * 2000, whole[: sample.offset + 10], whole[: sample.offset - 512],
                 bytes(bad_header), whole[: sample.offset - 200]):  # fmt: skip
        (tmp_path / "one.tar").write_bytes(data)
        with pytest.raises(DataError, match=r"one\.tar"):
            make.index_folder(tmp_path)
    shutil.rmtree(tmp_path / "no", ignore_errors=True)
    with pytest.raises(DataError, match=r"no \.tar files"):
        make.index_folder(tmp_path / "no")


def test_writing_is_resumable_and_the_same_bytes(files, shards, tmp_path, monkeypatch):
    family, cfg = build_family(load_cfg(files), "train"), load_cfg(files)
    real, calls = scan_shard, []

    def scan(folder, name):
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(folder, name)

    monkeypatch.setattr("slowfast.datasets.shards.write.scan_shard", scan)
    with pytest.raises(KeyboardInterrupt):
        write_shards(family, "train", tmp_path, limits=Limits(samples=4), progress="none")
    assert not (tmp_path / "index.json").exists()
    with pytest.raises(DataError, match="shards of other videos"):
        write_shards(family, "train", tmp_path, limits=Limits(samples=5), progress="none")
    written = write_shards(family, "train", tmp_path, limits=Limits(samples=4), progress="none")
    assert written.reused == 1
    assert sorted(os.listdir(tmp_path)) == sorted(os.listdir(shards / "train"))
    for shard in read_index(str(shards / "train")).shards:
        name = shard.name
        assert (tmp_path / name).read_bytes() == (shards / "train" / name).read_bytes()
    again = write_shards(family, "train", tmp_path, limits=Limits(samples=4), progress="none")
    assert again.reused == 3
    assert make.build_shards(cfg, ["val"], tmp_path / "b", (12_000, 9), None, 1) == 0
    sizes = [shard.size for shard in read_index(str(tmp_path / "b/val")).shards]
    assert len(sizes) > 1


def test_videos_that_cannot_be_had(files, tmp_path):
    root = files.parent
    (root / "train.csv").write_text((root / "train.csv").read_text() + "videos/gone.mp4 1\n")
    try:
        assert make.build_shards(load_cfg(files), ["train"], tmp_path, (1 << 30, 100), None, 1) == 1
    finally:
        text = (root / "train.csv").read_text().replace("videos/gone.mp4 1\n", "")
        (root / "train.csv").write_text(text)
    assert len(build_dataset(config(files, tmp_path), "train")) == 11


def test_reencoded(files, tmp_path):
    assert make.build_shards(load_cfg(files), ["val"], tmp_path, (1 << 30, 2), (32, 8, 20), 2) == 0
    dataset = build_dataset(config(files, tmp_path), "val")
    with record.open_sample(dataset.records[0]) as reader:
        assert (reader.width, reader.height, reader.num_frames) == (42, 32, 16)
    assert sorted(os.listdir(tmp_path / "val"))[-1] == "shard-000002.tar"
    assert len(os.listdir(tmp_path / "val")) == 4


def test_webdataset_reads_ours(shards):
    wds = pytest.importorskip("webdataset")
    found = []
    for i in range(3):
        path = str(shards / f"train/shard-{i:06d}.tar")
        data = wds.WebDataset(path, shardshuffle=False, empty_check=False)
        found += [(s["__key__"], int(s["cls"]), json.loads(s["json"])["label"]) for s in data]
    assert found == [(f"{i:08d}", i % 2, i % 2) for i in range(11)]


def test_we_read_webdatasets(files, tmp_path):
    wds = pytest.importorskip("webdataset")
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        with wds.TarWriter(str(tmp_path / split / "a.tar")) as writer:
            for i in range(COUNTS[split]):
                video = (files.parent / f"videos/{split}{i}.mp4").read_bytes()
                writer.write({"__key__": f"clip/{i:03d}", "mp4": video, "cls": i % 2})
        with pytest.raises(SystemExit, match="0"):
            make_shards(["--index_only", str(tmp_path / split)])
    ours = build_dataset(config(files, tmp_path), "train")
    theirs = build_dataset(load_cfg(files), "train")
    for index in range(11):
        assert torch.equal(ours[0, index].clips, theirs[0, index].clips)
        assert ours[0, index].labels == theirs[0, index].labels


@pytest.mark.slow
def test_trains_and_tests_like_from_files(files, shards, tmp_path):
    """From end to end; what is tested does not depend on where the videos lie."""
    from slowfast.reports.stats import read_stats

    words = [*config_words(shards), "OUTPUT_DIR", str(tmp_path / "a"), "SOLVER.MAX_EPOCH", "1"]
    run_net(["--cfg", str(files), *words])
    last = tmp_path / "a/checkpoints/checkpoint_epoch_00001.pyth"
    run_net(["--cfg", str(files), "--eval", "OUTPUT_DIR", str(tmp_path / "b"),
             "TEST.CHECKPOINT_FILE_PATH", str(last)])  # fmt: skip
    finals = [read_stats(tmp_path / run / "stdout.log")["test_final"][-1] for run in "ab"]
    assert finals[0]["top1_acc"] == finals[1]["top1_acc"]


def config_words(root):
    return ["TRAIN.DATASET", "shards", "TEST.DATASET", "shards", "DATA.PATH_TO_DATA_DIR", str(root)]


def test_fork_opens_anew_and_few_stay_open(shards):
    files = storage.OpenFiles(limit=2)
    paths = [str(shards / f"train/shard-{i:06d}.tar") for i in range(3)]
    first = [files.read(path, 0, 8) for path in paths]
    assert first == [b"00000000", b"00000004", b"00000008"]
    assert list(files._files) == paths[1:]
    files.forget()
    assert not files._files


class CountingFile(AbstractBufferedFile):
    """Bytes of a local file; notes the ranges that are fetched."""

    def _fetch_range(self, start, end):
        self.fs.fetched.append((start, end))
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read(end - start)


class CountingSystem(AbstractFileSystem):
    protocol = "counting"
    cachable = False
    fetched: ClassVar = []

    def info(self, path, **_):
        return {"name": path, "size": os.path.getsize(path), "type": "file"}

    def _open(self, path, mode="rb", block_size=None, cache_options=None, **options):
        return CountingFile(self, path, mode, block_size, cache_options=cache_options, **options)


def test_a_store_is_asked_for_every_block_once(files, shards, monkeypatch):
    """Shuffled by the buffer, the samples of a shard come from blocks fetched in order."""
    fsspec.register_implementation("counting", CountingSystem, clobber=True)
    monkeypatch.setattr(storage, "BLOCK", 1024)
    monkeypatch.setattr(CountingSystem, "fetched", [])
    family = build_family(config(files, f"counting://{shards}", "SHARDS.STREAMS", 1), "train")
    records = family.records("train")
    numbers = family.order(records)(0, rank=0, world_size=1, batch_size=2)
    CountingSystem.fetched.clear()  # those of the index
    opened = storage.OpenFiles()
    monkeypatch.setattr(record, "FILES", opened)
    for number in numbers:
        data = record.read_sample(records[number])
        local = (shards / "train" / os.path.basename(records[number].shard)).read_bytes()
        assert data == local[records[number].offset :][: len(data)]
    starts = [start for start, _ in CountingSystem.fetched]
    total = sum(path.stat().st_size for path in (shards / "train").glob("*.tar"))
    assert len(starts) > 10
    assert all(start % 1024 == 0 for start in starts)
    assert sum(end - start for start, end in CountingSystem.fetched) <= total
    opened.forget()


def test_yardsticks_of_the_benchmark_want_files(files, shards):
    from slowfast.deploy.benchmarks.build import build_decoding_benchmark

    with pytest.raises(DataError, match="read files, not shards"):
        build_decoding_benchmark(config(files, shards))


def test_check_data_reads_shards(files, damaged, tmp_path):
    """Damage is found by the check, before training finds it."""
    words = ["--cfg", str(files), *config_words(damaged), "--workers", "1", "--allow", "too_short",
             "overlap", "duplicate", "--splits", "train", "val", "--output_dir"]  # fmt: skip
    with pytest.raises(SystemExit, match="0"):
        check_data([*words, str(tmp_path / "a")])
    storage.FILES.forget()
    member = damage(damaged / "train", "flip")
    with pytest.raises(SystemExit, match="1"):
        check_data([*words, str(tmp_path / "b")])
    assert member in (tmp_path / "b/bad_videos.txt").read_text()
    bad = tmp_path / "b/bad_videos.txt"
    assert len(build_dataset(config(files, damaged, "DATA.BAD_VIDEOS_FILE", bad), "train")) == 10
