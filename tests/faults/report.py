"""The results of scripts/faults.py and scripts/endurance.py in files and in docs."""

import json
import re

from slowfast.utils.files import write_text


def add(path, name, found):
    """Put one result among those in a JSON file; all of them."""
    results = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    results[name] = found
    write_text(path, json.dumps(results, indent=1) + "\n")
    return results


def table(results):
    """What scripts/faults.py found, as Markdown."""
    lines = [
        "| run | SIGKILLs | files read after them | kills that left an unfinished file | "
        "runs finished, same result | half-written, lost or different |",
        "|---|---|---|---|---|---|",
    ]
    killed = {name: found for name, found in results.items() if "seconds" in found}
    for name, found in killed.items():
        # One of the finished runs is the one that the others are compared with.
        lines.append(
            f"| {name} ({found['seconds']:.1f} s) | {found['kills']} | {found['files']} | "
            f"{found['unfinished']} | {found['finished'] - 1} | {len(found['problems'])} |"
        )
    if "checkpoint" in results:
        lines += ["", damage_text(results["checkpoint"])]
    if "disk" in results:
        lines += ["", disk_text(results["disk"])]
    return "\n".join(lines)


def disk_text(found):
    """What became of tools that could not write, as a sentence."""
    counts = {}
    for name, tries in found["tries"].items():
        kind = name.rpartition(" ")[2]
        counts[kind] = counts.get(kind, 0) + tries
    kinds = {"full": "on a full tmpfs", "limit": "over RLIMIT_FSIZE", "read-only": "read-only"}
    told = ", ".join(f"{count} {kinds[kind]}" for kind, count in counts.items())
    return (
        f"Runs that could not write: {told}; {found['files']} files read after them, "
        f"{found['finished']} runs finished with the same result once there was room; "
        f"half-written, lost, different or without a one-line error: {len(found['problems'])}."
    )


def damage_text(found):
    """What became of damaged checkpoints, as a sentence."""
    parts = []
    for kind, what in (("flip", "bit flipped"), ("cut", "end cut off")):
        parts.append(
            f"{found['kills'][kind]} with one {what}: {found['refused'][kind]} refused, "
            f"{found['harmless'][kind]} read as if undamaged (the bit is in no content: padding, "
            "a date)"
            if found["harmless"][kind]
            else f"{found['kills'][kind]} with one {what}: all refused"
        )
    return (
        f"Damaged checkpoints: {'; '.join(parts)}; wrong content taken for right: "
        f"{len(found['problems'])}. Looking for damage in a file of 250 MB takes "
        f"{found['check_s']:.2f} s of the {found['read_s']:.2f} s that reading it takes."
    )


def update(page, name, text):
    """Write ``text`` between the markers ``<!-- name -->`` and ``<!-- /name -->`` of a page."""
    old = page.read_text("utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(old):
        raise ValueError(f"{page} has no markers <!-- {name} --> and <!-- /{name} -->")
    write_text(page, pattern.sub(lambda found: f"{found[1]}{text}\n{found[2]}", old))
