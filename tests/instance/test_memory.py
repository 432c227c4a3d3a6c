"""A worker's memory, once everything is imported and built; in a process of its own, whose collector it changes."""

import subprocess
import sys

_SCRIPT = """
import gc
from netstacks.instance import memory

held = [object() for _ in range(1000)]
memory.settle()
print(gc.get_freeze_count() > 0, gc.isenabled(), gc.get_threshold()[0] > 700)
"""


def test_objects_of_the_start_are_not_collected_and_later_ones_are() -> None:
    answer = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "True", "True"]


_HASHES = """
from netstacks.instance import memory
from netstacks.crypto import passwords

def resident_mb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024

memory.settle()
before = resident_mb()
for _ in range(3):
    passwords.hash_password("a password of the tests")
print(resident_mb() - before)
"""


def test_the_memory_of_a_password_hash_is_given_back() -> None:
    answer = subprocess.run([sys.executable, "-c", _HASHES], capture_output=True, text=True, check=True)
    assert float(answer.stdout) < 10
