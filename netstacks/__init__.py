"""NetStacks Controller: terminals to network devices, recorded, shared and highly available."""

__version__ = "0.1.0"
