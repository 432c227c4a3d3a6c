"""HTTP and WebSockets for clients, pages and peers, on Flask."""
