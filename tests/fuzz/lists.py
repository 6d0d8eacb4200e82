"""Annotation files: Kinetics lists, EPIC-KITCHENS tables, MECCANO segments, frame folder lists.

Every accepted file is read a second time by the few lines below, which know nothing of the
library's way, and the two must agree.
"""

import math
import re

from slowfast.datasets import epic_kitchens, meccano, rawframes
from slowfast.datasets.kinetics import Kinetics
from tests.fuzz.core import Target, WrongError
from tests.fuzz.mutate import encoded, mutate

CLASSES = 10
SEPARATORS = (" ", ",", "\t", ";", "|")
PATHS = ("a.mp4", "b.mp4", "my clips/a.mp4", "sub/a b.avi", "\u00e9t\u00e9.mp4", "a,b.mp4", "c.webm",
         "/nowhere/a.mp4", "../a.mp4", "a", "x" * 300 + ".mp4", 'a"b.mp4', "http://h/a.mp4")  # fmt: skip
NUMBERS = ("0", "1", "9", "10", "-1", "+3", "1.0", "1e3", " 4", "\u0663", "1_0", "", "nan", "inf",
           "9" * 30, "9" * 5000, "0x1", "a", "00", "2 3")  # fmt: skip
EPIC_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class"
)
TIMES = ("00:00:00.00", "00:00:01.5", "01:02:03.456", "0:0:4", "00:00:nan", "00:00:inf", "-1:00:00",
         "00:00:-5", "00:99:00", "1:2", "1:2:3:4", "", "00:00:1e3", "9" * 5000 + ":0:0", "a:b:c")  # fmt: skip
WORDS = tuple(
    word.encode()
    for word in (
        *NUMBERS, *TIMES, '"', "'", '""', ",", "\r", "\r\n", "\n", "\0", "\ufeff", "\u2028", "\x85",
        "\x0b", "\x1c", ";", "|", "\t", '"a\nb"', '"' * 50, "," * 300, "x" * 140_000, " " * 200_000,
        "=cmd|' /C calc'!A0", "\ufffd", "\u202e",
    )
) + (b"\xff", b"\xc3", b"\xff\xfe", b"\x80\x81", b"\xed\xa0\x80")  # fmt: skip


def independent_lines(data):
    """Numbered lines of a UTF-8 file that are not blank."""
    text = data.decode("utf-8-sig")
    lines = re.split("\r\n|\r|\n", text)
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def independent_rows(data):
    """Rows of a comma-separated file as RFC 4180 defines them, blank ones left out."""
    text, rows, row, field = data.decode("utf-8-sig"), [], [], []
    place, quoted, begun = 0, False, False
    while place < len(text):
        letter = text[place]
        place += 1
        if quoted:
            if letter != '"':
                field.append(letter)
            elif text[place : place + 1] == '"':
                field.append('"')
                place += 1
            else:
                quoted = False
        elif letter == '"' and not begun:
            quoted = begun = True
        elif letter in ",\r\n":
            row.append("".join(field))
            field, begun = [], False
            if letter != ",":
                rows.append(row)
                row = []
        else:
            field.append(letter)
            begun = True
    rows.append([*row, "".join(field)])
    rows = [[field.strip() for field in row] for row in rows]
    return [row for row in rows if any(row)]


def same(what, found, expected):
    if found != expected:
        raise WrongError(f"{what}: {found!r:.300} instead of {expected!r:.300}")


def lines_of(rng, rows):
    """Rows as a file with some line ending, perhaps none at the end."""
    newline = rng.choice(("\n", "\n", "\n", "\r\n", "\r"))
    text = newline.join(rows)
    return text + newline * rng.choice((1, 1, 0, 3))


class Lists(Target):
    """All kinds of lists, a quarter of the inputs each; the first byte of an input says which."""

    name = "csv"

    def __init__(self, folder):
        super().__init__(folder)
        (folder / "a.mp4").write_bytes(b"")
        self.path = folder / "train.csv"

    def draw(self, rng):
        kind = rng.choice(sorted(KINDS))
        rows = KINDS[kind][0](rng)
        data = encoded(rng, lines_of(rng, rows)) if rng.random() < 0.98 else rng.randbytes(100)
        if rng.random() < 0.5:
            data = mutate(rng, data, WORDS, most=3)
        return kind + data

    def run(self, data):
        self.path.write_bytes(data[1:])
        KINDS[data[:1]][1](self.path, data[1:])


# ---- Kinetics -----------------------------------------------------------------------------------


def draw_kinetics(rng):
    separator, quote = rng.choice(SEPARATORS), rng.random() < 0.3
    rows = []
    for _ in range(rng.randint(1, 6)):
        path = rng.choice(PATHS[:3] if rng.random() < 0.7 else PATHS)
        label = str(rng.randrange(CLASSES)) if rng.random() < 0.9 else rng.choice(NUMBERS)
        if quote or separator in path:
            path = '"' + path.replace('"', '""') + '"'
        rows.append(f"{path}{separator}{label}")
    return [*(["path label"] if rng.random() < 0.05 else []), "a.mp4" + separator + "1", *rows]


def check_kinetics(path, data):
    records = Kinetics(path.parent, [CLASSES]).records("train")
    lines = independent_lines(data)
    same("rows", len(records), len(lines))
    for record, (number, line) in zip(records, lines, strict=True):
        same("source", record.source, f"{path}:{number}")
        label = re.search(r"([+-]?\d+)[\"'\s]*$", line)
        same("label", record.labels, label and int(label[1]))
        if not 0 <= record.labels < CLASSES:
            raise WrongError(f"label {record.labels}")
        bare = re.sub(r"[\s\"']", "", line)
        if not record.name.strip() or re.sub(r"[\s\"']", "", record.name) not in bare:
            raise WrongError(f"path {record.name!r} of line {line!r:.300}")


# ---- EPIC-KITCHENS ------------------------------------------------------------------------------


def draw_epic(rng):
    rows = [EPIC_HEADER if rng.random() < 0.95 else EPIC_HEADER.replace("video_id", "video")]
    for number in range(rng.randint(1, 4)):
        begin = rng.randrange(100)
        times = [f"00:00:{begin / 2:05.2f}", f"00:01:{begin / 2:05.2f}"]
        frames = [str(begin), str(begin + rng.randrange(50))]
        classes = [str(rng.randrange(97)), str(rng.randrange(300))]
        for values, others in ((times, TIMES), (frames, NUMBERS), (classes, NUMBERS)):
            if rng.random() < 0.1:
                values[rng.randrange(2)] = rng.choice(others)
        text = rng.choice(("open door", '"open, then close"', '"say ""hi"""', ""))
        rows.append(
            f"P01_01_{number},P01,P01_01,{times[0]},{times[0]},{times[1]},{frames[0]},{frames[1]},"
            f"{text},open,{classes[0]},door,{classes[1]}"
        )
    return rows


def check_epic(path, data):
    segments = epic_kitchens.read_segments(path)
    header, *rows = independent_rows(data)
    same("rows", len(segments), len(rows))
    for segment, row in zip(segments, rows, strict=True):
        same("fields", len(row), len(header))
        entry = dict(zip(header, row, strict=True))
        same("id", segment.narration_id, entry["narration_id"])
        same("video", (segment.participant, segment.video),
             (entry["participant_id"], entry["video_id"]))  # fmt: skip
        for name, value in (("start_frame", segment.start_frame), ("stop_frame", segment.stop_frame),
                            ("verb_class", segment.verb), ("noun_class", segment.noun)):  # fmt: skip
            same(name, value, int(entry[name]) if name in entry else None)
        for name, value in (
            ("start_timestamp", segment.start_s),
            ("stop_timestamp", segment.stop_s),
        ):
            hours, minutes, seconds = entry[name].split(":")
            same(name, value, int(hours) * 3600 + int(minutes) * 60 + float(seconds))
        if not 0 <= segment.start_s < segment.stop_s < 1000 * 3600:
            raise WrongError(f"times {segment.start_s} to {segment.stop_s}")
        if not 0 <= segment.start_frame <= segment.stop_frame < 1e9:
            raise WrongError(f"frames {segment.start_frame} to {segment.stop_frame}")


# ---- MECCANO ------------------------------------------------------------------------------------


def draw_meccano(rng):
    rows = ["video_id,action_id,action_name,start_frame,end_frame"] * (rng.random() < 0.5)
    for _ in range(rng.randint(1, 4)):
        begin = rng.randrange(1, 100)
        label = str(rng.randrange(61)) if rng.random() < 0.9 else rng.choice(NUMBERS)
        name = rng.choice(("take_bolt", '"take, then put"', "put, take", "", '"a ""b"""'))
        ending = rng.choice((".jpg", "", ".png"))
        last = f"{begin + 9:05d}" if rng.random() < 0.9 else rng.choice(NUMBERS)
        rows.append(
            f"{rng.choice(('0001', '1', '20'))},{label},{name},{begin:05d}{ending},{last}{ending}"
        )
    return rows


def check_meccano(path, data):
    segments = list(meccano.read_segments(path))
    rows = independent_rows(data)
    if rows and not any(field.isdigit() for field in rows[0][:2]):
        del rows[0]
    same("rows", len(segments), len(rows))
    for segment, (video, label, *name, first, last) in zip(segments, rows, strict=True):
        same("video", (segment.video, segment.class_name), (video, ",".join(name)))
        numbers = [int(re.sub(r"\..*", "", text)) for text in (label, first, last)]
        same("numbers", [segment.class_id, segment.start, segment.end], numbers)
        if not (0 <= segment.class_id < 61 and 0 <= segment.start <= segment.end < 1e9):
            raise WrongError(f"segment {segment}")


# ---- folders of frames --------------------------------------------------------------------------


def draw_rawframes(rng):
    rows, long = [], rng.random() < 0.5
    for _ in range(rng.randint(1, 4)):
        label = str(rng.randrange(CLASSES)) if rng.random() < 0.9 else rng.choice(NUMBERS)
        numbers = ["0", "100", str(rng.randrange(50)), str(rng.randrange(51, 99)), "30"]
        if rng.random() < 0.2:
            numbers[rng.randrange(5)] = rng.choice(NUMBERS)
        rows.append(" ".join([rng.choice(("take_1", "take 1", "a/b")), label, *(numbers * long)]))
    return rows


def check_rawframes(path, data):
    found = rawframes.read_annotation(path, high_label=CLASSES - 1)
    lines = independent_lines(data)
    same("rows", len(found), len(lines))
    for entry, (number, line) in zip(found, lines, strict=True):
        words = line.split()
        same("source", entry.source, f"{path}:{number}")
        count = 7 if entry.clip else 2
        name, values = words[: 1 - count], words[1 - count :]
        same("video", entry.video.split(), name)
        same("label", entry.label, int(values[0]))
        if entry.clip:
            same("clip", entry.clip, (int(values[3]), int(values[4]) - 1))
            same(
                "frames and rate", (entry.num_frames, entry.fps), (int(values[2]), float(values[5]))
            )
        if not (0 < entry.fps < math.inf and 0 <= entry.label < CLASSES):
            raise WrongError(f"line {entry}")
        if entry.clip and not 0 <= entry.clip[0] <= entry.clip[1] < 1e9:
            raise WrongError(f"clip {entry.clip}")


KINDS = {
    b"k": (draw_kinetics, check_kinetics),
    b"e": (draw_epic, check_epic),
    b"m": (draw_meccano, check_meccano),
    b"r": (draw_rawframes, check_rawframes),
}
