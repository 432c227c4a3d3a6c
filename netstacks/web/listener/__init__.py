"""The connections of the public listener: limits, deadlines, and the rate of new handshakes."""
