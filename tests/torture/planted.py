"""Proof of the torture: copies of the product with a bug planted in each, and the seeds that find it.

By hand, for it takes a while: `python -m tests.torture.planted [NAME...]`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.controller import ROOT

SECONDS, SEEDS = 90, range(1, 6)
_TEST = "tests/torture/test_torture.py"
_RUN = """
import pathlib, sys, pytest, tests.controller
tests.controller.ROOT = pathlib.Path(sys.argv[1])
sys.exit(pytest.main(["-q", "-s", sys.argv[2]]))
"""


@dataclass(frozen=True)
class Edit:
    path: str
    old: str
    new: str


_SPLICE = "netstacks/peer/splice.py"
_RULES = "netstacks/cluster/reconciliation.py"
_WITNESS_SQL = "netstacks/store/sql/witness.sql"
BUGS = {
    "claim without compare-and-set": [
        Edit(
            "netstacks/store/sql/sessions.sql",
            "epoch = epoch + 1, state = 'active', detached_at = NULL,\n    orphaned_at = NULL,"
            " lost_owner = coalesce(owner, lost_owner)\n"
            "WHERE id = %(id)s AND epoch = %(epoch)s AND",
            "epoch = %(epoch)s + 1, state = 'active', detached_at = NULL,\n    orphaned_at = NULL,"
            " lost_owner = coalesce(owner, lost_owner)\n"
            "WHERE id = %(id)s AND",
        )
    ],
    # One late heartbeat is a death.
    "reaper without the waiting time": [
        Edit("netstacks/registry/lua/reap.lua", "- ARGV[1])", "- 3)"),
        Edit("netstacks/cluster/liveness.py", "last_heartbeat_at) > ttl_secs", "last_heartbeat_at) > 3"),
        Edit("netstacks/cluster/liveness.py", "now - contact_since > ttl_secs", "now - contact_since > 0"),
    ],
    "splice that drops a byte": [
        Edit(
            _SPLICE,
            "                while waiting:\n",
            "                lost = int(size > 1 and time.monotonic_ns() // 1000 % 50 == 0)\n"
            "                while waiting > lost:\n",
        ),
        Edit(_SPLICE, "sink.fileno(), waiting,", "sink.fileno(), waiting - lost,"),
        Edit(
            _SPLICE,
            "            before, moved_at",
            "                os.read(reading_end, lost)\n            before, moved_at",
        ),
    ],
    # An instance that is not in the list counts as gone, whatever a dial answers.
    "orphans by absence": [
        Edit(_RULES, 'return witness == "held" or (registered is not None and', "return (registered is not None and"),
        Edit(
            _RULES,
            '    if signs.outcome in ("confirmed", "denied", "declined"):\n        return False\n',
            "    return True\n",
        ),
        # Nor does its owner contradict.
        Edit(
            "netstacks/instance/reconciler.py",
            "session.is_live and row.state != session.state.value",
            "session.is_live and row.state not in ('active', 'detached')",
        ),
    ],
    "locks that are not taken from the frozen": [
        Edit(
            _WITNESS_SQL,
            "count(pg_terminate_backend(pid)) AS ended\nFROM pg_stat_activity",
            "count(pid) AS ended\nFROM pg_stat_activity",
        ),
        Edit("netstacks/store/connections.py", "\nIDLE_IN_TRANSACTION_SECS = 4.0", "\nIDLE_IN_TRANSACTION_SECS = 60.0"),
        Edit("netstacks/stores.py", "min(IDLE_IN_TRANSACTION_SECS, ttl_secs / 2)", "IDLE_IN_TRANSACTION_SECS"),
    ],
    # It is asked for, and the answer is not looked at.
    "a witness not held": [
        Edit(_WITNESS_SQL, "SELECT pg_try_advisory_lock(%(key)s) AS held", "SELECT false AS held"),
        Edit("netstacks/store/witness.py", 'if answer is not None and answer["held"]:', "if answer is not None:"),
    ],
}


def main(names: list[str]) -> None:
    for name in names or BUGS:
        with tempfile.TemporaryDirectory(prefix="netstacks-planted-") as folder:
            _plant(Path(folder), BUGS[name])
            print(f"{name}: {_search(Path(folder))}", flush=True)


def _plant(copy: Path, edits: list[Edit]) -> None:
    for part in ("netstacks", "templates", "static"):
        shutil.copytree(ROOT / part, copy / part)
    shutil.copy(ROOT / "gunicorn.conf.py", copy)
    for edit in edits:
        path = copy / edit.path
        text = path.read_text()
        assert text.count(edit.old) == 1, f"{edit.path} has changed: plant the bug anew"
        path.write_text(text.replace(edit.old, edit.new))


def _search(copy: Path) -> str:
    began_at = time.monotonic()
    for seed in SEEDS:
        environ = {**os.environ, "TORTURE_SECONDS": str(SECONDS), "TORTURE_SEED": str(seed)}
        run = subprocess.run(
            [sys.executable, "-c", _RUN, str(copy), _TEST], cwd=ROOT, env=environ, capture_output=True, text=True
        )
        found = [
            line for line in run.stdout.splitlines() if line.startswith("E   ") and " violations, the first" in line
        ]
        if found:
            return f"seed {seed}, after {time.monotonic() - began_at:.0f} s: {found[0].strip()[:300]}"
        if run.returncode:
            return f"seed {seed} failed otherwise:\n{run.stdout[-3000:]}"
    return f"not found by {len(SEEDS)} seeds"


if __name__ == "__main__":
    main(sys.argv[1:])
