"""Making inputs out of others."""

INTERESTING = (0, 1, 2, 7, 8, 16, 0x20, 0x22, 0x27, 0x2C, 0x2E, 0x7F, 0x80, 0xC3, 0xFE, 0xFF)


def mutate(rng, data, words=(), *, most=4):
    """``data`` after up to ``most`` small accidents.

    Args:
        rng: of the input.
        data: bytes.
        words: bytes to put in.
        most: accidents.
    """
    for _ in range(rng.randint(1, most)):
        data = rng.choice(ACCIDENTS)(rng, data, words)
    return data


def _place(rng, data):
    return rng.randrange(len(data) + 1)


def _flip(rng, data, _):
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def _set(rng, data, _):
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([rng.choice(INTERESTING)]) + data[place + 1 :]


def _cut(rng, data, _):
    start = _place(rng, data)
    return data[:start] + data[start + rng.choice((1, 2, 4, 30)) :]


def _truncate(rng, data, _):
    return data[: _place(rng, data)]


def _repeat(rng, data, _):
    start = _place(rng, data)
    piece = data[start : start + rng.choice((1, 4, 20))]
    return data[:start] + piece * rng.choice((2, 3, 50)) + data[start:]


def _insert(rng, data, words):
    place = _place(rng, data)
    word = rng.choice(words) if words else rng.randbytes(4)
    return data[:place] + word + data[place:]


def _move(rng, data, _):
    """A piece stands somewhere else."""
    start = _place(rng, data)
    end = start + rng.choice((2, 8, 40))
    piece, rest = data[start:end], data[:start] + data[end:]
    place = _place(rng, rest)
    return rest[:place] + piece + rest[place:]


def _replace_line(rng, data, words):
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    if words and rng.random() < 0.7:
        lines[number] = rng.choice(words)
    elif rng.random() < 0.5:
        lines.insert(number, lines[number])
    else:
        del lines[number]
    return b"\n".join(lines)


ACCIDENTS = (_flip, _set, _cut, _truncate, _repeat, _insert, _insert, _move, _replace_line)


def encoded(rng, text):
    """A text as some editor might save it: mostly UTF-8, also with a mark, or something else."""
    data = text.encode("utf-8", "surrogatepass")
    draw = rng.random()
    if draw < 0.8:
        return data
    if draw < 0.88:
        return b"\xef\xbb\xbf" + data
    other = rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7"))
    return text.encode(other, "replace")
