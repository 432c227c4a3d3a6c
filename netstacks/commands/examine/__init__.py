"""The checks of `netstacks doctor`: one module for each part of a deployment."""
