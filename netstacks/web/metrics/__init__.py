"""Prometheus metrics over HTTP."""
