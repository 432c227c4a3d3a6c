"""A gunicorn configuration: gunicorn.conf.py, and a Unix socket that tells what only the collector would free."""

import gc
import json
import os
import runpy
from pathlib import Path
from types import FunctionType
from typing import Any

_config = runpy.run_path(str(Path(__file__).parents[1] / "gunicorn.conf.py"))
globals().update({name: value for name, value in _config.items() if not name.startswith("_")})

# Functions of libraries that call themselves, and so hold themselves: one for each request, one for an INFO of Valkey.
_OF_LIBRARIES = {"StateMachineMatcher.match.<locals>._match", "parse_info.<locals>.get_value"}


def post_worker_init(worker: Any) -> None:
    from gevent import socket, spawn

    _config["post_worker_init"](worker)
    gc.collect()
    # Nothing is collected unseen.
    gc.disable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.environ["GARBAGE_SOCKET"])
    listener.listen()

    def serve() -> None:
        while True:
            with listener.accept()[0] as connection:
                connection.sendall(json.dumps(_garbage()).encode())

    spawn(serve)


def _garbage() -> list[str]:
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = [*gc.garbage]
    gc.garbage.clear()
    gc.set_debug(0)
    functions = [each for each in found if isinstance(each, FunctionType) and each.__qualname__ in _OF_LIBRARIES]
    cells = [cell for each in functions for cell in each.__closure__ or ()]
    held = [*functions, *(each.__closure__ for each in functions), *cells, *(cell.cell_contents for cell in cells)]
    known = {id(each) for each in held}
    names = sorted(f"{type(each).__qualname__}: {str(each)[:100]}" for each in found if id(each) not in known)
    for each in (found, functions, cells, held):
        each.clear()
    # What was kept for a look at it is freed now, or it would be found again.
    gc.collect()
    return names
