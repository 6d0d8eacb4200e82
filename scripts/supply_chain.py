#!/usr/bin/env python3
"""Lock file, licence list and SBOM of what this project is built on.

    python scripts/supply_chain.py lock        scripts/lock/*.txt: versions and hashes, by pip
    python scripts/supply_chain.py sbom        scripts/lock/sbom.cdx.json: CycloneDX, of the lock
    python scripts/supply_chain.py licences    docs/licences.md: of the packages installed here
    python scripts/supply_chain.py audit       installed packages that are not the locked ones

The lock is for Linux on x86-64, CPython 3.11 and torch's CPU build: run `lock` where pip finds that
build (see scripts/setup.sh --cpu). It asks pip what it would install and downloads nothing that it
has. The other two read what is installed and need no network.
"""

import argparse
import ast
import functools
import importlib.metadata
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "scripts/lock/linux-x86_64-cp311-cpu.txt"
SBOM = ROOT / "scripts/lock/sbom.cdx.json"
LICENCES = ROOT / "docs/licences.md"
HEAD = """\
# What requirements.txt installs on Linux, x86-64, CPython 3.11, with torch's CPU build.
# By: python scripts/supply_chain.py lock
#
# With the index that scripts/setup.sh --cpu gives pip:
#   pip install --require-hashes --no-deps -r {name}
"""
NAMESPACE = uuid.UUID("5e1c8d0e-6b43-4f0e-9d5a-3f6c1b7a2d90")  # of serial numbers of our SBOMs

# What packages say of themselves, where that is no SPDX expression.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "OSI Approved :: Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "FreeBSD": "BSD-2-Clause",
    "Expat license": "MIT",
    "MIT License": "MIT",
    "MIT licensed, as found in the LICENSE file": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# What they do not say, or not in one word, from their licence files.
KNOWN = {
    "antlr4-python3-runtime": "BSD-3-Clause",
    "coremltools": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "executorch": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "PSF-2.0",
    "mpmath": "BSD-3-Clause",
    "omegaconf": "BSD-3-Clause",
    "pysocks": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "sympy": "BSD-3-Clause",
    "torchao": "BSD-3-Clause",
    "torchcodec": "BSD-3-Clause",
    "torchvision": "BSD-3-Clause",
}
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python",
    "HPND", "ISC", "LLVM-exception", "MIT", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense",
    "WTFPL", "Zlib",
}  # fmt: skip
# Their terms bind changes to their own files, not what uses them.
WEAK_COPYLEFT = {"MPL-2.0", "LGPL-2.1-or-later", "LGPL-3.0-or-later"}
# Programs that check the code; nothing of them is imported, and nothing of them is passed on.
PROGRAMS = {"pylint", "astroid"}
INSIDE = """\
Some wheels carry libraries of others. PyAV's, which read and write videos, carry FFmpeg; it says of
itself `{ffmpeg}`. OpenCV's carry FFmpeg, too (LGPL-2.1-or-later). Whoever passes such
wheels on, in a container for example, passes these on as well.
"""


def declared() -> dict[str, list[Requirement]]:
    """Requirements by what they are for: ``"runtime"`` or the name of an extra."""
    tree = ast.parse((ROOT / "setup.py").read_text("utf-8"))
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXTRAS":
            found |= ast.literal_eval(node.value)
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            found["runtime"] = ast.literal_eval(node.value)
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    found["runtime"] += [line for line in lines if line and not line.startswith("#")]
    return {purpose: [Requirement(text) for text in texts] for purpose, texts in found.items()}


def needs(requirement: Requirement) -> Iterable[Requirement]:
    """What an installed package needs, in the extras that are asked of it."""
    try:
        lines = importlib.metadata.requires(requirement.name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        needed = Requirement(line)
        extras = requirement.extras or {""}
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            yield needed


def closure(roots: Sequence[Requirement]) -> set[str]:
    """Canonical names of packages and of all they need."""
    found: set[str] = set()
    left = list(roots)
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            left += needs(requirement)
    return found


def licence(name: str) -> str:
    """SPDX expression of an installed package; empty where nobody knows."""
    if name in KNOWN:
        return KNOWN[name]
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    said = (metadata.get("License") or "").strip().splitlines()[:1]
    named = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or []
             if c.startswith("License")]  # fmt: skip
    for text in [*said, *named]:
        text = SPDX.get(text, text)
        if words(text) <= PERMISSIVE | WEAK_COPYLEFT:
            return text
    return ""


def words(expression: str) -> set[str]:
    """The licences of an SPDX expression."""
    found = set(re.findall(r"[\w.+-]+", expression)) - {"AND", "OR", "WITH"}
    return found or {"?"}


@functools.cache
def by_package() -> dict[str, list[str]]:
    """Canonical name -> what it is needed for, of all packages declared and what they need."""
    found: dict[str, list[str]] = {}
    for purpose, roots in declared().items():
        for name in closure(roots):
            found.setdefault(name, []).append(purpose)
    return found


def incompatible() -> list[str]:
    """Packages whose licence is unknown or does not go with use by anybody, and why."""
    problems = []
    for name in sorted(by_package()):
        said = licence(name)
        unfit = words(said) - PERMISSIVE - WEAK_COPYLEFT
        if unfit and name not in PROGRAMS:
            problems.append(f"{name}: {said or 'unknown'}")
    return problems


def licence_rows() -> list[tuple[str, str, str]]:
    """Package, licence, purpose: runtime, extras, or only ``dev``."""
    rows = []
    for name, purposes in sorted(by_package().items()):
        shown = "runtime" if "runtime" in purposes else ", ".join(sorted(purposes))
        if shown != "dev" and "dev" in purposes and shown != "runtime":
            shown = ", ".join(sorted(set(purposes) - {"dev"}))
        rows.append((name, licence(name), shown))
    return rows


def write_licences() -> None:
    import av._core

    ffmpeg = av._core.library_meta["libavcodec"]["license"]
    table = [f"| {name} | {said or '?'} | {purpose} |" for name, said, purpose in licence_rows()]
    text = "\n".join([
        "# Licences of dependencies",
        "",
        "Written by `python scripts/supply_chain.py licences` from what the installed packages",
        "say, with what they need themselves. No licence of a package that is imported asks",
        "anything of code that uses it; MPL and LGPL ask that changes to their own files be",
        "published. `dev` is for tests and checks only; pylint and astroid are programs that look",
        "at the code.",
        "",
        "| package | licence | for |",
        "| --- | --- | --- |",
        *table,
        "",
        INSIDE.format(ffmpeg=ffmpeg),
    ])  # fmt: skip
    LICENCES.write_text(text, encoding="utf-8")


def write_lock() -> None:
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
    command = [*pip, "--ignore-installed", "--only-binary", ":all:", "-r", "requirements.txt"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    write_lock_from(json.loads(done.stdout))


def write_lock_from(report: dict) -> None:
    lines = []
    for entry in report["install"]:
        name, version = entry["metadata"]["name"], entry["metadata"]["version"]
        digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{canonicalize_name(name)}=={version} \\\n    --hash=sha256:{digest}")
    LOCK.parent.mkdir(exist_ok=True)
    head = HEAD.format(name=LOCK.relative_to(ROOT).as_posix())
    LOCK.write_text(head + "\n".join(sorted(lines)) + "\n", encoding="utf-8")


def locked() -> dict[str, tuple[str, str]]:
    """Canonical name -> version and SHA-256, of the lock."""
    found = re.findall(
        r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:([0-9a-f]{64})$",
        LOCK.read_text("utf-8"),
        re.MULTILINE,
    )
    return {name: (version, digest) for name, version, digest in found}


def sbom() -> dict:
    """The lock as CycloneDX 1.6. The same lock gives the same document."""
    packages = locked()
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text("utf-8"))
    own = {"type": "library", "bom-ref": "slowfast-efficient", "name": "slowfast-efficient",
           "version": version[1] if version else "0"}  # fmt: skip
    parts, edges = [], []
    for name, (number, digest) in packages.items():
        said = licence(name)
        parts.append({
            "type": "library",
            "bom-ref": reference(name, number),
            "name": name,
            "version": number,
            "purl": reference(name, number),
            "hashes": [{"alg": "SHA-256", "content": digest}],
            **({"licenses": [{"expression": said}]} if said else {}),
        })  # fmt: skip
        wanted = {canonicalize_name(r.name) for r in needs(Requirement(name))} & packages.keys()
        on = sorted(reference(one, packages[one][0]) for one in wanted)
        edges.append({"ref": reference(name, number), "dependsOn": on})
    wanted = {canonicalize_name(r.name) for r in declared()["runtime"]}
    roots = sorted(reference(one, packages[one][0]) for one in wanted)
    serial = uuid.uuid5(NAMESPACE, LOCK.read_text("utf-8"))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": own},
        "components": parts,
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": roots}, *edges],
    }


def reference(name: str, version: str) -> str:
    """The package URL."""
    return f"pkg:pypi/{name}@{version.replace('+', '%2B')}"


def audit() -> list[str]:
    """Locked packages that are missing here or have another version."""
    problems = []
    for name, (version, _) in locked().items():
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            here = "not installed"
        if here != version:
            problems.append(f"{name}: {here}, locked {version}")
    return problems


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("lock", "sbom", "licences", "audit"))
    what = parser.parse_args(argv).what
    problems: list[str] = []
    if what == "lock":
        write_lock()
    elif what == "sbom":
        SBOM.write_text(json.dumps(sbom(), indent=1) + "\n", encoding="utf-8")
    elif what == "licences":
        write_licences()
        problems = incompatible()
    else:
        problems = audit()
    print("\n".join(problems) or f"{what}: nothing wrong")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
