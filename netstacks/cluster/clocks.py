"""Clocks of hosts: how far they may differ before something breaks, and when a person should look at them."""

# What one host signs with a time, another host accepts within this difference: hosts without a time service have it.
TOLERATED_SECS = 300
ALARM_SECS = 5.0
# An alarm does not come and go with every measurement of a clock that differs by just so much.
_ALL_CLEAR_SECS = 4.0

ADVICE = (
    "run a time service (chrony, systemd-timesyncd) on every host:"
    f" beyond {TOLERATED_SECS} s instances refuse each other's connections"
)


def is_alarming(skew_secs: float, *, was_alarming: bool = False) -> bool:
    """Whether a person should look at a clock that is ahead of another one by `skew_secs`, or behind when negative."""
    return abs(skew_secs) >= (_ALL_CLEAR_SECS if was_alarming else ALARM_SECS)


def in_words(skew_secs: float) -> str:
    """`40 s ahead`, `1.5 s behind`."""
    return f"{round(abs(skew_secs), 1):g} s {'ahead' if skew_secs >= 0 else 'behind'}"
