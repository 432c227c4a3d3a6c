"""Our own pages, rendered by Jinja, and the mounted build of the Terminal web client."""
