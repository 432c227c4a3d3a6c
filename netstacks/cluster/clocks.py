"""Limits of clock skew between hosts: when an administrator is warned, and when requests fail."""

# Tokens with a time are accepted within this skew, which hosts without a time service can reach.
TOLERATED_SECS = 300
ALARM_SECS = 5.0
# Hysteresis: an alarm must not flap around its limit.
_ALL_CLEAR_SECS = 4.0

ADVICE = (
    "run a time service (chrony, systemd-timesyncd) on every host:"
    f" with a difference of more than {TOLERATED_SECS} s, instances refuse each other's connections"
)


def is_alarming(skew_secs: float, *, was_alarming: bool = False) -> bool:
    """Whether a skew of `skew_secs` needs an administrator; positive when the other clock is ahead."""
    return abs(skew_secs) >= (_ALL_CLEAR_SECS if was_alarming else ALARM_SECS)


def in_words(skew_secs: float) -> str:
    """The skew as a text: `40 s ahead`, `1.5 s behind`."""
    return f"{round(abs(skew_secs), 1):g} s {'ahead' if skew_secs >= 0 else 'behind'}"
