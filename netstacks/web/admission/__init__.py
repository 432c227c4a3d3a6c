"""The waiting room in front of `/ws/ssh`, for clients that must wait for a terminal."""
