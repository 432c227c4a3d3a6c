"""`netstacks vault`: which keys the stored secrets are sealed with, and changing to a new one."""
