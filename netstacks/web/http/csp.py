"""The Content-Security-Policy, and the other headers with which a browser protects a page.

No inline scripts; inline styles, because xterm.js and asciinema-player set them.
"""

from flask import Response, request

POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
# asciinema-player's terminal is WebAssembly.
WITH_WASM = f"{POLICY}; script-src 'self' 'wasm-unsafe-eval'"


def protect(response: Response) -> None:
    """Adds the headers that the response to this request does not have yet."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Referrer-Policy", "same-origin")
    if not request.path.startswith(("/static/", "/terminal/")):
        headers.setdefault("Cache-Control", "no-store")
