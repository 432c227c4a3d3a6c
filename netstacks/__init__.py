"""NetStacks Controller: terminals to network devices, recorded, shared and highly available."""

__version__ = "0.2.0"
