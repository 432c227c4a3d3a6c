"""The jump box: a small shell of the controller in which a user opens terminals by name."""
