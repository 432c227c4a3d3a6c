"""A TCP proxy that can be cut and frozen: the network between a client and a server, controlled by a test."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

from tests.ports import free_port


class Wire:
    """Forwards a loopback port to `port` until cut; freezing loses nothing and says nothing, as a dead network does.

    A connection is reset while there is no listener on `port`. `translate` changes what the server says on its way.
    """

    def __init__(self, port: int, *, translate: Callable[[bytes], bytes] = bytes) -> None:
        self.port = free_port()
        self.connections = 0
        self._target = port
        self._translate = translate
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_cut = False
        self._delay_secs = 0.0
        self._left: int | None = None
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Resets every connection, and every new one until `restore`."""
        self._is_cut = True
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)

    def abort(self) -> None:
        """Ends every connection with a RST in both directions, as a device that reloads or a firewall does."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    # A reading thread keeps the descriptor open: its read has to end first.
                    end.shutdown(socket.SHUT_RD)
                end.close()

    def restore(self) -> None:
        self._is_cut = False

    def lead_to(self, port: int) -> None:
        """New connections go there from now on."""
        self._target = port

    def delay(self, secs: float) -> None:
        """Every piece takes so long from now on, in each direction."""
        self._delay_secs = secs

    def freeze(self) -> None:
        """Nothing passes until `thaw`; the connections stay."""
        self._flowing.clear()

    def freeze_after(self, size: int) -> None:
        """Freezes in the middle of what is being sent: when about `size` more bytes have passed."""
        self._left = size

    @property
    def is_frozen(self) -> bool:
        return not self._flowing.is_set()

    def thaw(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        # A close alone does not end the waiting `accept`: it would take another connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.thaw()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                try:
                    self._connect(client)
                except OSError:
                    _reset(client)

    def _connect(self, client: socket.socket) -> None:
        if self._is_cut:
            raise ConnectionRefusedError("the wire is cut")
        server = socket.create_connection(("127.0.0.1", self._target))
        with self._lock:
            self._pairs.append((client, server))
        for pump in ((client, server, bytes), (server, client, self._translate)):
            threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, translate: Callable[[bytes], bytes]) -> None:
        try:
            while data := source.recv(65536):
                self._count(len(data))
                self._flowing.wait()
                if self._delay_secs:
                    time.sleep(self._delay_secs)
                sink.sendall(translate(data))
            # A frozen network does not deliver the end of a connection either.
            self._flowing.wait()
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._flowing.wait()
            # The kernel resets the connections of a process that was killed: the other end hears of it, too.
            _reset(sink)

    def _count(self, size: int) -> None:
        with self._lock:
            if self._left is not None:
                self._left -= size
                if self._left < 0:
                    self._left = None
                    self.freeze()


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
