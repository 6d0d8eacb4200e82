#!/usr/bin/env python3
"""What loading costs, measured here, and what large datasets on many GPUs need, computed from it.

    python scripts/scaling.py --update docs/scaling.md       measure, under 3 minutes; write tables
    python scripts/scaling.py --from_file runs/scaling/measured.json --update docs/scaling.md

The second form computes the tables anew from an earlier measurement. Measured numbers belong to the
machine named above the tables; the rest is arithmetic from them and from ASSUMED, below.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import re
import resource
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch

from slowfast.config import load_cfg
from slowfast.datasets.build import build_dataset, build_family, build_loader
from slowfast.datasets.shards.index import Sample, Shard, ShardIndex
from slowfast.datasets.shards.record import read_sample
from slowfast.datasets.shards.storage import FILES
from slowfast.datasets.shards.write import Limits, write_shards
from slowfast.deploy.profile import build_model_inputs, count_macs, count_parameters
from slowfast.models.build import build_model
from slowfast.utils.errors import one_line_errors

ROOT = Path(__file__).resolve().parent.parent
KINETICS = ROOT / "configs/Kinetics"
SECONDS = 10  # of a video, as in Kinetics
SOURCES = {  # name -> width, height, videos, short side and GOP of a re-encoding
    "340x256": (340, 256, 10, None),
    "340x256, prepared": (340, 256, 10, (256, 16)),
    "1280x720": (1280, 720, 3, None),
}
CLIPS = [  # frames, stride, crop
    (8, 8, 224), (16, 4, 224), (32, 2, 224), (64, 2, 224),
    (13, 6, 112), (13, 6, 160), (13, 6, 224), (13, 6, 312),
]  # fmt: skip
MODELS = {"X3D_S": (13, 6, 160), "SLOWFAST_8x8_R50": (32, 2, 224)}
ASSUMED = {
    "datasets": {"Kinetics-400": 240_000, "Kinetics-700": 540_000},  # training videos, about
    "gpus": (1, 8, 64),
    "tflops": {"X3D_S": 3.0, "SLOWFAST_8x8_R50": 20.0},  # of a GPU in bf16, reached in training
    "megabytes": 1.0,  # of a ten-second video with a short side of 256
}
BATCH = 8  # clips of a GPU and step: sets how often gradients are exchanged


def draw_videos(folder: Path, width: int, height: int, count: int) -> None:
    """Ten-second H.264 files of a texture that moves under noise, with a list for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        coarse = draw.integers(0, 256, (height // 8 + 64, width // 8 + 64, 3), dtype=np.uint8)
        texture = np.repeat(np.repeat(coarse, 8, 0), 8, 1)
        with av.open(str(folder / f"{number}.mp4"), "w") as out:
            stream = out.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "26"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = 250
            for t in range(30 * SECONDS):
                y, x = int(40 + 30 * np.sin(t / 30 + number)), t % 300
                noise = draw.integers(-4, 5, (height, width, 1), dtype=np.int16)
                picture = texture[y : y + height, x : x + width] + noise
                frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), "rgb24")
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    rows = "".join(f"{number}.mp4 0\n" for number in range(count))
    for split in ("train", "val"):
        (folder / f"{split}.csv").write_text(rows)


def prepare(folder: Path) -> None:
    """The videos of all sources, unless they are there."""
    from slowfast.datasets.prepare.encode import Recipe
    from slowfast.datasets.prepare.folder import prepare_folder

    for name, (width, height, count, recipe) in SOURCES.items():
        target = place(folder, name)
        if (target / "val.csv").exists():
            continue
        if recipe:
            prepare_folder(place(folder, name.partition(",")[0]), target, Recipe(*recipe),
                           workers=1, progress="none")  # fmt: skip
        else:
            draw_videos(target, width, height, count)


def place(folder: Path, name: str) -> Path:
    return folder / name.replace(", ", "_")


def config(folder: Path, clip: tuple[int, int, int], *more: object):
    frames, stride, crop = clip
    words = [
        "DATA.PATH_TO_DATA_DIR", folder, "DATA.NUM_FRAMES", frames, "DATA.SAMPLING_RATE", stride,
        "DATA.TRAIN_CROP_SIZE", crop, "TRAIN.BATCH_SIZE", BATCH, "PROGRESS", "none",
        "NUM_GPUS", 0,
        "DATA.TRAIN_JITTER_SCALES", [round(crop * 8 / 7), round(crop * 10 / 7)], *more,
    ]  # fmt: skip
    return load_cfg(KINETICS / "X3D_S.yaml", [str(word) for word in words])


def rate(work: Callable[[int], object], seconds: float) -> float:
    """How often ``work`` can be done in a second, after once in vain."""
    work(0)
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        done += 1
        work(done)
    return done / passed


def measure_decoding(folder: Path, seconds: float) -> list[dict]:
    """Clips per second of one core: opening, decoding, scaling, cropping."""
    rows = []
    for name in SOURCES:
        clips = CLIPS if name == "340x256, prepared" else list(MODELS.values())
        for clip in clips:
            dataset = build_dataset(config(place(folder, name), clip), "train")
            per_core = rate(lambda i, data=dataset: data[i // len(data), i % len(data)], seconds)
            rows.append({"source": name, "clip": clip, "clips_s": per_core})
    return rows


def measure_loader(folder: Path, seconds: float) -> list[dict]:
    """Clips per second by number of workers."""
    rows = []
    for workers in (0, 1, 2, 4):
        if workers > cores():
            break
        cfg = config(place(folder, "340x256, prepared"), (13, 6, 160), "DATA_LOADER.NUM_WORKERS",
                     workers, "TRAIN.BATCH_SIZE", 2)  # fmt: skip
        batches = endless(build_loader(cfg, "train"))
        rows.append(
            {"workers": workers, "clips_s": 2 * rate(lambda _, b=batches: next(b), seconds)}
        )
        del batches
    return rows


def endless(loader) -> Iterator:
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        yield from loader
        epoch += 1


def measure_reading(folder: Path, seconds: float) -> list[dict]:
    """Megabytes per second of shards and of files, from the disk and from the system's memory."""
    source, target = place(folder, "1280x720"), folder / "shards"
    cfg = config(source, (13, 6, 160))
    write_shards(build_family(cfg, "train"), "train", target / "train", limits=Limits(),
                 progress="none")  # fmt: skip
    shards = config(target, (13, 6, 160), "TRAIN.DATASET", "shards")
    records = build_family(shards, "train").records("train")
    paths = sorted(source.glob("*.mp4"))
    size = sum(path.stat().st_size for path in paths) / 1e6
    kinds = {
        "shards": ([target / "train/shard-000000.tar"], lambda: [*map(read_sample, records)]),
        "files": (paths, lambda: [path.read_bytes() for path in paths]),
    }
    rows = []
    for name, (files, read) in kinds.items():
        found = {"kind": name, "warm_mb_s": size * rate(lambda _, r=read: r(), seconds / 2)}
        found["cold_mb_s"] = size / np.median([cold(files, read) for _ in range(5)])
        rows.append(found)
    return rows


def cold(files: list[Path], read: Callable[[], object]) -> float:
    """Seconds that reading takes after the system has been asked to forget the files."""
    FILES.forget()
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    read()
    return time.perf_counter() - began


def measure_index(count: int = 20_000) -> dict:
    """Seconds and bytes that an index of many samples takes, per sample."""
    from slowfast.datasets.shards.index import parse_index

    samples = tuple(
        Sample(f"{i:08d}.mp4", 512 + i, 1, 1,
               ({"labels": 1, "name": f"class/video_{i:08d}.mp4", "index": i, "source": "a:1"},))
        for i in range(count)
    )  # fmt: skip
    text = ShardIndex((Shard("shard-000000.tar", 1, "0" * 64, samples),)).to_text()
    began = time.perf_counter()
    parse_index(json.loads(text))
    seconds = time.perf_counter() - began
    tracemalloc.start()
    kept = parse_index(json.loads(text))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept.shards[0].samples) == count
    return {"seconds": seconds / count, "bytes": size / count, "file_bytes": len(text) / count}


def count_costs() -> dict[str, dict]:
    """Parameters and multiply-adds of the models, counted."""
    found = {}
    for name in MODELS:
        cfg = load_cfg(KINETICS / f"{name}.yaml", ["NUM_GPUS", "0"])
        with torch.device("meta"):
            model = build_model(cfg)
        shapes = build_model_inputs(cfg, cfg.DATA.TRAIN_CROP_SIZE)
        found[name] = {
            "macs": count_macs(model, shapes),
            "params": count_parameters(model),
            "epochs": int(cfg.SOLVER.MAX_EPOCH),
        }
    return found


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        if found:
            return found[1].strip()
    return platform.machine()


def measure(folder: Path, seconds: float) -> dict:
    """Everything; a few megabytes of videos are made in ``folder`` and removed again."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    prepare(folder)
    sizes = {
        name: float(np.mean([path.stat().st_size for path in place(folder, name).glob("*.mp4")]))
        for name in SOURCES
    }
    found = {
        "machine": f"{processor()}, {cores()} cores used, Python {platform.python_version()}, "
        f"PyAV {av.__version__}",
        "bytes": sizes,
        "decoding": measure_decoding(folder, seconds),
        "reading": measure_reading(folder, seconds),
        "index": measure_index(),
        "loader": measure_loader(folder, seconds),
        "models": count_costs(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    shutil.rmtree(folder)
    found["seconds"] = time.perf_counter() - began
    return found


# -- tables ----------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[object]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def clip_name(clip: list[int] | tuple[int, ...]) -> str:
    return f"{clip[0]} x {clip[1]}, {clip[2]}²"


def clip_mb(clip: list[int] | tuple[int, ...]) -> float:
    """Megabytes of a uint8 clip."""
    return 3 * clip[0] * clip[2] ** 2 / 1e6


def decoding_table(found: dict) -> str:
    rows = [
        [row["source"], clip_name(row["clip"]), f"{row['clips_s']:.1f}",
         f"{1000 / row['clips_s']:.1f}", f"{clip_mb(row['clip']):.2f}"]
        for row in found["decoding"]
    ]  # fmt: skip
    head = ["videos", "frames x stride, crop", "clips/s and core", "ms", "MB of the clip"]
    return f"Measured: {found['machine']}.\n\n{table(head, rows)}"


def reading_table(found: dict) -> str:
    rows = [
        [row["kind"], f"{row['cold_mb_s']:.0f}", f"{row['warm_mb_s']:.0f}"]
        for row in found["reading"]
    ]
    loader = [[row["workers"], f"{row['clips_s']:.1f}"] for row in found["loader"]]
    index = found["index"]
    lines = [
        f"Measured: {found['machine']}.",
        table(["read from", "MB/s, not in memory", "MB/s, in memory"], rows),
        table(["loader workers", "clips/s (13 x 6, 160², prepared videos)"], loader),
        f"An index entry takes {index['file_bytes']:.0f} bytes in the file, "
        f"{index['bytes'] / 1000:.1f} kB in memory and {1e6 * index['seconds']:.0f} us to read.",
    ]
    return "\n\n".join(lines)


def needs_table(found: dict) -> str:
    """What training needs: arithmetic."""
    speed = {
        tuple(row["clip"]): row["clips_s"]
        for row in found["decoding"]
        if row["source"] == "340x256, prepared"
    }
    rows = []
    for name, clip in MODELS.items():
        cost = found["models"][name]
        per_gpu = ASSUMED["tflops"][name] * 1e12 / (6 * cost["macs"])
        for gpus in ASSUMED["gpus"]:
            clips = per_gpu * gpus
            exchange = 2 * 4 * cost["params"] * (gpus - 1) / gpus * per_gpu / BATCH
            hours = [
                f"{videos * cost['epochs'] / clips / 3600:,.0f}"
                for videos in ASSUMED["datasets"].values()
            ]
            rows.append([
                name, gpus, f"{clips:,.0f}", f"{math.ceil(clips / speed[clip]):,}",
                f"{clips * ASSUMED['megabytes']:,.0f}", f"{clips * clip_mb(clip):,.0f}",
                f"{exchange / 1e6:,.0f}", *hours,
            ])  # fmt: skip
    head = ["model", "GPUs", "clips/s", "loader cores", "MB/s read", "MB/s to the GPUs",
            "MB/s of gradients, each GPU"]  # fmt: skip
    head += [f"hours, {name}" for name in ASSUMED["datasets"]]
    return f"Computed.\n\n{table(head, rows)}"


def storage_table(found: dict) -> str:
    index, rows = found["index"], []
    for name, videos in ASSUMED["datasets"].items():
        gigabytes = videos * ASSUMED["megabytes"] / 1000
        rows.append([
            name, f"{videos:,}", f"{gigabytes:,.0f}", f"{-(-gigabytes // 1):,.0f}",
            f"{videos * index['file_bytes'] / 1e6:.0f}", f"{videos * index['bytes'] / 1e6:.0f}",
            f"{videos * index['seconds']:.0f}",
        ])  # fmt: skip
    head = ["training split", "videos", "GB", "shards of 1 GB", "index, MB", "in memory, MB",
            "read in, s"]  # fmt: skip
    return f"Computed.\n\n{table(head, rows)}"


TABLES = {
    "decoding": decoding_table,
    "reading": reading_table,
    "needs": needs_table,
    "storage": storage_table,
}


def update(path: Path, found: dict) -> None:
    """Put the tables between their markers."""
    text = path.read_text("utf-8")
    for name, make in TABLES.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not marked.search(text):
            raise ValueError(f"{path} has no <!-- {name} --> ... <!-- /{name} -->")
        made = make(found).replace("\\", "\\\\")
        text = marked.sub(rf"\g<1>{made}\n\g<2>", text)
    path.write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, shown = parser.add_argument, "(default: %(default)s)"
    add("--output_dir", type=Path, default=Path("runs/scaling"), help=shown)
    add("--seconds", type=float, default=4.0, help=f"of each measurement {shown}")
    add("--from_file", type=Path, help="measured.json of an earlier run: measure nothing")
    add("--update", type=Path, help="page to write the tables to")
    args = parser.parse_args(argv)
    with one_line_errors():
        if args.from_file:
            found = json.loads(args.from_file.read_text("utf-8"))
        else:
            found = measure(args.output_dir / "videos", args.seconds)
            target = args.output_dir / "measured.json"
            target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if args.update:
            update(args.update, found)
        for make in TABLES.values():
            print(make(found), end="\n\n")


if __name__ == "__main__":
    main()
