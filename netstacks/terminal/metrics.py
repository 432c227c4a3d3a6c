"""Prometheus metrics of the terminals."""

from prometheus_client import Counter

from netstacks.terminal.quick_metrics import QuickCounter, QuickHistogram

ECHO_LATENCY = QuickHistogram(
    "netstacks_echo_latency_seconds",
    "Time from the arrival of a key to the sending of the device's next output to the user's terminal",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
DEVICE_BYTES = QuickCounter("netstacks_device_bytes", "Bytes that devices have sent to their sessions")
CLIENT_BYTES = QuickCounter("netstacks_client_bytes", "Bytes that users and viewers have typed into sessions")
FENCED = Counter("netstacks_fenced", "Sessions whose copy here was closed because another instance had taken them over")
