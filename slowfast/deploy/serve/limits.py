"""What a client may ask for, and how it is told that it asked for too much."""

from __future__ import annotations

from dataclasses import dataclass, field

from slowfast.utils.errors import UserError

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Of the server.

    Attributes:
        upload_bytes: of an uploaded video.
        video_s: seconds of an uploaded video.
        sessions: uploads and live streams at once, together.
        video_pixels: of a frame of an uploaded video.
        frame_rate: frames per second of an uploaded video, on average.
        frame_bytes: of a live frame as JPEG.
        frame_pixels: of a live frame.
        aspect: long over short side of a frame.
        idle_s: seconds that a live stream may stand still.
        live_s: seconds that a live stream may last.
        stall_s: seconds to wait for the next piece of a request, or until a client takes an answer.
        bytes_per_s: of an upload, on average after its first ``stall_s``.
    """

    upload_bytes: int = 200 * MIB
    video_s: float = 300.0
    sessions: int = 4
    video_pixels: int = 4096 * 2304
    frame_rate: float = 240.0
    frame_bytes: int = 2 * MIB
    frame_pixels: int = 2048 * 1536
    aspect: float = 8.0
    idle_s: float = 30.0
    live_s: float = 3600.0
    stall_s: float = 15.0
    bytes_per_s: int = 16 * 1024

    def __post_init__(self) -> None:
        for name in ("upload_bytes", "video_s", "sessions"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} {getattr(self, name)}: must be above 0")

    def check_size(self, width: int, height: int, pixels: int, what: str) -> None:
        """Raise for frames that are too large, or so long that scaling them takes much memory.

        Args:
            width: in pixels.
            height: in pixels.
            pixels: allowed.
            what: the thing, for the message.
        """
        if min(width, height) < 1 or max(width, height) > self.aspect * min(width, height):
            raise ServeError(
                400,
                f"{what} is {width}x{height} pixels, which is no usual picture.",
                f"Send frames whose long side is at most {self.aspect:g} times the short one.",
            )
        if width * height > pixels:
            raise ServeError(
                413,
                f"{what} is {width}x{height} pixels; at most {pixels} are taken.",
                "Scale it down first: the model looks at far smaller frames.",
            )


@dataclass
class ServeError(UserError):
    """Something a client can mend.

    Attributes:
        status: of HTTP.
        error: one sentence: what is wrong.
        fix: one sentence: what to do.
        headers: of the answer.
    """

    status: int
    error: str
    fix: str
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.error} {self.fix}"

    def entry(self) -> dict[str, str]:
        """As the client gets it."""
        return {"error": self.error, "fix": self.fix}


def busy(sessions: int) -> ServeError:
    """All places are taken."""
    return ServeError(
        503,
        f"The server is busy: {sessions} video{'s are' if sessions > 1 else ' is'} running.",
        "Try again in a few seconds.",
        {"Retry-After": "5"},
    )


def too_large(limit: int) -> ServeError:
    """The upload has more bytes than allowed."""
    return ServeError(
        413,
        f"The video is larger than {limit / MIB:g} MB.",
        "Cut it or compress it, or start the server with a larger --max_upload_mb.",
    )


def too_long(seconds: float, limit: float) -> ServeError:
    """The video lasts longer than allowed."""
    return ServeError(
        413,
        f"The video lasts {seconds:.1f} s; at most {limit:g} s are taken.",
        "Cut it into parts, or start the server with a larger --max_seconds.",
    )


def no_video(cause: str) -> ServeError:
    """The upload is no video that can be read."""
    return ServeError(
        415,
        f"This is no video that can be read: {cause.rstrip('.')}.",
        "Send an MP4, MOV, WebM, MKV, AVI or MPEG-TS file, for instance H.264 in MP4.",
    )
