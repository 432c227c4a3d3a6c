"""The Content-Security-Policy: no inline scripts; inline styles, because xterm.js and asciinema-player set them."""

POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
# asciinema-player's terminal is WebAssembly.
WITH_WASM = f"{POLICY}; script-src 'self' 'wasm-unsafe-eval'"
