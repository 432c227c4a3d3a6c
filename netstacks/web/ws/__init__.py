"""WebSockets: routes, the connection and its frame writer, and the endpoint of the user's own terminal."""
