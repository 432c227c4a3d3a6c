"""Many idle terminals at once."""

import selectors
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from bench.channels import Channel, Endpoint

_CONCURRENT_OPENS = 4
_LOGOUT_SECS = 60


class Crowd:
    """Opens terminals and holds them; a thread reads the frames, so that pings are answered."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._selector = selectors.DefaultSelector()
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Logs out everywhere: a terminal that is only closed would be kept for its user."""
        for key in list(self._selector.get_map().values()):
            key.data.send(b"exit\r")
        self._closing.set()
        self._reader.join(_LOGOUT_SECS)

    def grow(self, count: int) -> float:
        """Opens `count` more terminals, a few at a time; returns how many a second."""
        if not self._selector.get_map():
            # webssh loses all but one of the sessions that a client opens at the same time when it has none yet.
            self._hold([self._endpoint.open()])
        began_at = time.monotonic()
        with ThreadPoolExecutor(_CONCURRENT_OPENS) as pool:
            channels = list(pool.map(lambda _: self._endpoint.open(), range(count)))
        took_secs = time.monotonic() - began_at
        self._hold(channels)
        return count / took_secs

    def _hold(self, channels: list[Channel]) -> None:
        for channel in channels:
            self._selector.register(channel, selectors.EVENT_READ, channel)

    def _read(self) -> None:
        while self._selector.get_map() or not self._closing.is_set():
            for key, _ in self._selector.select(timeout=0.1):
                try:
                    key.data.receive()
                except (EOFError, OSError):
                    self._selector.unregister(key.fileobj)
                    key.data.close()
