"""Config files and overrides."""

import contextlib
import io
import json
import logging

import yaml

from slowfast.config import load_cfg
from slowfast.config.cli import load_cfg_from_args, parse_args
from slowfast.config.tree import all_keys, all_nodes, get_cfg, get_value
from tests.fuzz.core import Target, WrongError
from tests.fuzz.mutate import encoded, mutate

VALUES = (
    "1", "0", "-1", "0.1", "1e-4", "True", "no", "null", "~", "''", "a", "[]", "[1]", "[1, 2]",
    "[3, 3]", "[[1], [2]]", "[verb, noun]", "(3, 7, 7)", "{}", "{a: 1}", "cuda", "slowfast", "x3d",
    "SlowFast", "kinetics", "1e400", "-1e400", ".nan", ".inf", "nan", "inf", "1_000", "0x10",
    "0o17", "1:30", "2001-01-01", "2001-13-45", "9" * 400, "9" * 5000, "1" + "0" * 400 + ".5",
    "[" * 50, "[" * 3000, "]", "{" * 3000, "(" * 500 + ")" * 500, "-" * 300 + "1",
    "[1" + ", 1" * 200 + "]", "!!float x", "!!int ''", "!!bool x", "!!timestamp x", "!!binary x",
    "!!set {a, b}", "!!omap [a: 1]", "!!map [1]", "!!python/tuple [1, 2]", "!!null x", "=", "<<",
    "!!python/object/apply:os.system [echo hi]", "!!python/name:os.system", "!new 1", "*a", "&a 1",
    "&a [*a]", "&a {b: *a}", "'\\0'", '"\\0"', '"\\ud800"', '"\\x01"', "\t1", "\u2028", "\ufeff",
    "__import__('os').system('x')", "[__import__('os')]", "[1 if 1 else 2]", "a" * 3000, "\u0663",
    "%s %d {0}", "../../etc/passwd", "/dev/zero", "~nobody/x", "http://a/b.yaml", "|", ">-", "#",
)  # fmt: skip
LINES = (
    "_BASE_: self.yaml", "_BASE_: [a.yaml, 3]", "_BASE_: /dev/zero", "_BASE_: ~nobody/a.yaml",
    '_BASE_: "a\\0b"', "_BASE_: ''", "_BASE_: .", "_BASE_: fifo", "_BASE_: good.yaml", "---",
    "...", "%YAML 1.2", "%TAG ! x", "<<<<<<< HEAD", "=======", ">>>>>>> x", "<<: *a", "<<: {a: 1}",
    "? [a, b]", "? {a: 1}", "- 1", "MODEL:", "MODEL: 3", "MODEL: []", "  ARCH: x3d", "\tARCH: x3d",
    "a: &a {x: 1}\nb: &b {p: *a, q: *a}\nc: {p: *b, q: *b}", "DATA.NUM_FRAMES: 8", ": 1", "'': 1",
    "1: 2", "null: 1", "MODEL.ARCH.X: 1", "BN: {FREEZE: True}", "DETECTION: {ENABLE: True}", "{", "}",
)  # fmt: skip
BOMB = "\n".join(
    ["a: &a0 {x: [1, 1]}"]
    + [f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}, r: *a{i - 1}}}" for i in range(1, 40)]
)
LIST_BOMB = "DATA: {MEAN: &a0 [1, 1]}\n" + "\n".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40)
)
DEEP = (
    "[" * 20000,
    "{a: " * 20000,
    "- " * 20000,
    "a:\n" + "\n".join(" " * i + "a:" for i in range(600)),
)
BASE = "MODEL: {MODEL_NAME: X3D, ARCH: x3d, NUM_CLASSES: 5}\nDATA: {INPUT_CHANNEL_NUM: [3]}\n"
WORDS = tuple(word.encode("utf-8", "surrogatepass") for word in VALUES + LINES)

# Keys whose check looks at the machine, not at the value, or that begin a message for people.
NAMES = tuple(all_keys())
DEFAULTS = {name: get_value(get_cfg(), name) for name in NAMES}
LOOSE = ("", ".", "MODEL", "MODEL.", ".MODEL", "MODEL.ARCHX", "model.arch", "X" * 5000, "a b", "é",
         "__class__", "MODEL.__class__", "BN.FREEZE", "DETECTION.ENABLE", "MODEL.ARCH.X")  # fmt: skip


def draw_value(rng, name=""):
    """The spelling of a value: often one that the key takes."""
    key = all_keys().get(name)
    if key is not None and rng.random() < 0.93:
        value = rng.choice((key.default, *key.options))
        if type(value) in (int, float) and rng.random() < 0.3:
            value = value * rng.choice((0, 1, 2, -1, 1000)) + rng.choice((0, 1))
        return json.dumps(value) if isinstance(value, (list, tuple)) else str(value)
    return rng.choice(VALUES)


def draw_name(rng):
    return rng.choice(NAMES) if rng.random() < 0.985 else rng.choice(LOOSE)


def draw_yaml(rng):
    """A text that might be a config file."""
    tree = {}
    for _ in range(rng.randint(1, 6)):
        name = draw_name(rng)
        tree.setdefault(name.rpartition(".")[0], []).append((name.rpartition(".")[2], name))
    lines = []
    for node, leaves in tree.items():
        parts = node.split(".") if node else []
        lines += ["  " * depth + f"{part}:" for depth, part in enumerate(parts)]
        indent = "  " * len(parts)
        lines += [f"{indent}{leaf}: {draw_value(rng, name)}" for leaf, name in leaves]
    if rng.random() < 0.1:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(LINES))
    return "\n".join(lines) + "\n"


def check_round_trip(cfg):
    """What was accepted, written down, is accepted and the same."""
    changed = {n: value for n in NAMES if (value := get_value(cfg, n)) != DEFAULTS[n]}
    words = []
    for name, value in changed.items():
        words += [name, value if isinstance(value, str) else repr(value)]
    again = load_cfg((), words)
    for name in NAMES:
        before, after = get_value(cfg, name), get_value(again, name)
        if before != after:
            raise WrongError(f"{name} {before!r} became {after!r}")
    if not cfg.is_frozen():
        raise WrongError("the config can be changed")
    return changed


def check_dump(cfg):
    """The YAML that a checkpoint carries gives the config back."""
    tree = yaml.safe_load(cfg.dump())
    for name in NAMES:
        value = tree
        for part in name.split("."):
            value = value[part]
        wanted = get_value(cfg, name)
        if _plain(value) != _plain(wanted):
            raise WrongError(f"{name} {wanted!r} is written as {value!r}")


def _plain(value):
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class ConfigFile(Target):
    """``load_cfg`` of a YAML file."""

    name = "config"

    def __init__(self, folder):
        super().__init__(folder)
        logging.getLogger("slowfast.config").setLevel(logging.CRITICAL)
        self.path = folder / "self.yaml"
        (folder / "good.yaml").write_text(BASE)
        with contextlib.suppress(OSError, AttributeError):
            import os

            os.mkfifo(folder / "fifo")

    def draw(self, rng):
        draw = rng.random()
        if draw < 0.001:
            return rng.choice((BOMB, LIST_BOMB, *DEEP, "a: " + "x" * 2_000_000)).encode()
        data = encoded(rng, draw_yaml(rng)) if draw < 0.97 else rng.randbytes(rng.randrange(200))
        return mutate(rng, data, WORDS, most=3) if rng.random() < 0.3 else data

    def is_named(self, text):
        """The file; of keys that contradict one another, these."""
        keys = (*(f"{node}." for node in all_nodes()), "SHARD_ID")  # the rest clash with nothing
        return super().is_named(text) or any(key in text for key in keys)

    def run(self, data):
        self.path.write_bytes(data)
        cfg = load_cfg(self.path)
        changed = check_round_trip(cfg)
        if len(changed) > 3:  # slow: of some
            check_dump(cfg)


class Overrides(Target):
    """``KEY VALUE`` words of a command line; words are separated by zero bytes, as in argv."""

    name = "overrides"

    def __init__(self, folder):
        super().__init__(folder)
        logging.getLogger("slowfast.config").setLevel(logging.CRITICAL)

    def draw(self, rng):
        words = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            name = draw_name(rng)
            words += [name, draw_value(rng, name)]
        if rng.random() < 0.05:
            words.insert(rng.randrange(len(words) + 1), rng.choice((*VALUES, "--opts", "--cfg")))
        data = b"\0".join(word.encode("utf-8", "surrogatepass") for word in words)
        return mutate(rng, data, WORDS, most=2) if rng.random() < 0.3 else data

    def run(self, data):
        words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")]
        if len(data) % 4 == 0:
            with contextlib.redirect_stderr(io.StringIO()):
                args = parse_args(words)
                cfg = load_cfg_from_args(args)
        else:
            cfg = load_cfg((), words)
        check_round_trip(cfg)

    def is_named(self, text):
        """The key, the node of an unknown one, or what is wrong with the words as a whole."""
        known = (
            *all_nodes(),
            "overrides are KEY VALUE pairs",
            "unknown config key",
            "NUM_",
            "DEVICE",
        )
        return "the command line" in text or any(name in text for name in known)
