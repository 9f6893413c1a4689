"""What the service takes at most, and how a request beyond it is refused: by one line, before the work is begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from threading import Lock

from medzoo.data.errors import ConfigError, MedzooError

SCALES_BY_BATCH = "int8_dynamic"
"""A precision whose activations are scaled by what runs together: its images are run alone, so that no stranger changes them."""
LONGEST_LINE = 500
"""Characters of a refusal that repeats what a request says."""
RETRY_SECONDS = 1
"""What a client that found the service full is told to wait."""


class RefusedError(Exception):
    """A request that is not answered, and why.

    Args:
        status: Of HTTP.
        message: One line that names the thing and the remedy.
        headers: Further ones of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.status, self.headers = status, dict(headers or {})


def full(what: str) -> RefusedError:
    """Return the refusal of a service that is full."""
    return RefusedError(503, f"busy: {what}; try again", {"Retry-After": str(RETRY_SECONDS)})


def refused(error: MedzooError) -> RefusedError:
    """Return the refusal of what is wrong with a request; what it repeats of the request is cut."""
    return RefusedError(422, str(error)[:LONGEST_LINE])


def too_many(count: int, most: int, what: str = "images") -> RefusedError:
    """Return the refusal of a request that has more of something than is taken."""
    return RefusedError(413, f"{count} {what} are more than the {most} of one request; send them in several")


@dataclass(frozen=True)
class Limits:
    """What the service takes at most; each number at least 1, `wait` at least 0.

    Attributes:
        body: Bytes of a request.
        images: Images of a request.
        pixels: Pixels of an image, by its header, before it is decoded (volumes: voxels).
        seconds: A request may take, its arrival included.
        requests: That are read or answered at once.
        queue: Images of all requests that are decoded, wait or are run, of each model.
        memory: Bytes of request bodies and decoded pixels held at once.
        batch: Images a run.
        wait: Milliseconds that a batch waits for more images once it has one.
        readers: Threads that decode.
    """

    body: int = 32 << 20
    images: int = 16
    pixels: int = 25_000_000
    seconds: float = 30.0
    requests: int = 256
    queue: int = 128
    memory: int = 1 << 30
    batch: int = 16
    wait: float = 2.0
    readers: int = 2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < (0 if field.name == "wait" else 1) and not (field.name == "seconds" and value > 0):
                raise ConfigError(f"--{field.name} {value} is too small; give 1 or more")
        if self.images > self.queue:
            raise ConfigError(f"--images {self.images} of a request would never find room in a --queue of {self.queue}")
        if self.body > self.memory:
            raise ConfigError(f"--body {self.body} of a request would never find room in a --memory of {self.memory}")


class Room:
    """A number of places, taken at once or not at all: nobody waits for one. Safe from several threads.

    Args:
        what: Stands there, for the refusal.
        places: How many there are.

    Attributes:
        taken: How many are taken.
    """

    def __init__(self, what: str, places: int) -> None:
        self.what, self.places, self.taken = what, places, 0
        self.lock = Lock()

    @contextmanager
    def held(self, count: int = 0) -> Iterator[Held]:
        """Hold places for a while; RefusedError (503) if there are not as many."""
        held = Held(self)
        held.take(count)
        try:
            yield held
        finally:
            held.close()


class Held:
    """Places that one request holds; they are free again when it is closed, and none is taken after that."""

    def __init__(self, room: Room) -> None:
        self._room, self._count, self._closed = room, 0, False

    def take(self, count: int) -> None:
        """Take more places; RefusedError (503) if there are not as many, or the request is over."""
        room = self._room
        with room.lock:
            if self._closed or room.taken + count > room.places:
                raise full(f"{room.taken:,} of {room.places:,} {room.what} are taken")
            room.taken += count
            self._count += count

    def close(self) -> None:
        """Give all of them back."""
        with self._room.lock:
            self._room.taken -= self._count
            self._count, self._closed = 0, True
