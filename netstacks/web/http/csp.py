"""The Content-Security-Policy: no inline script anywhere; xterm.js and asciinema-player set styles."""

POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
# asciinema-player's terminal is WebAssembly.
WITH_WASM = f"{POLICY}; script-src 'self' 'wasm-unsafe-eval'"
