"""A small real OpenID provider: discovery, code flow with PKCE, keys that rotate, userinfo, log-out; and its faults.

    with OidcProvider() as provider:
        provider.user["groups"] = ["network-admins"]
        provider.claims = {"aud": "another application"}   # what the next ID tokens say in place of the truth
        provider.rotate()

Its log-in page is a form with one button, or logs in at once (`provider.shows_form = False`).
"""

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID = "netstacks"
CLIENT_SECRET = "a secret: of the + provider"
MORE_THAN_ANYONE_READS = 40 * 1024 * 1024
# The keys of providers that have ended: a new one takes as long as a log-in.
_spare_keys: list[RSAKey] = []


@dataclass
class _Code:
    redirect_uri: str
    challenge: str
    nonce: str
    is_used: bool = False


class OidcProvider:
    """Serves on a port of its own until the `with` block ends. Every attribute may be changed at any time."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        """Speaks TLS with a certificate and its key, if they are given."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.issuer = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.user: dict[str, Any] = {
            "sub": "user-1",
            "preferred_username": "lee",
            "email": "lee@example.net",
            "name": "Lee Example",
            "groups": ["network-operators"],
        }
        self.shows_form = False
        self.client_secret: str | None = CLIENT_SECRET
        self.claims: dict[str, Any] = {}
        """What ID tokens say in place of the truth; None leaves a claim out."""
        self.signs = "RS256"
        """Or `none`, or `HS256` with the public key as the secret."""
        self.userinfo_only: set[str] = set()
        """Claims that are not in the ID token."""
        self.userinfo_sub: str | None = None
        self.authorization_error: str | None = None
        self.authorization_issuer: str | None = None
        self.discovery: dict[str, Any] = {}
        """What the discovery document says in place of the truth."""
        self.faults: dict[str, str] = {}
        """By path: `huge`, `html`, `error`, `redirect`, `array`, `drip`, `hang`."""
        self.requests: list[str] = []
        self.codes: dict[str, _Code] = {}
        self.access_tokens: set[str] = set()
        self.keys: list[RSAKey] = []
        self._taken_keys: list[RSAKey] = []
        self.publishes_keys = True
        self.stopping = threading.Event()
        self.rotate()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        _spare_keys.extend(self._taken_keys)

    def rotate(self) -> None:
        """From now on another key signs, which no other provider has, and the former ones are gone."""
        key = _spare_keys.pop() if _spare_keys else _new_key()
        self._taken_keys.append(key)
        self.keys = [key]

    def count(self, path: str) -> int:
        """How often a path was requested."""
        return sum(each == path for each in self.requests)

    # The parts below belong to the handler.

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/end-session",
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            **self.discovery,
        }

    def key_set(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys] if self.publishes_keys else []}

    def code_for(self, query: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self.codes[code] = _Code(query["redirect_uri"], query["code_challenge"], query["nonce"])
        return code

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        if not self._knows_client(form, authorization):
            return 401, {"error": "invalid_client"}
        code = self.codes.get(form.get("code", ""))
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        is_proven = code and base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() == code.challenge
        if code is None or code.is_used or not is_proven or form.get("redirect_uri") != code.redirect_uri:
            return 400, {"error": "invalid_grant"}
        code.is_used = True
        access_token = secrets.token_urlsafe(16)
        self.access_tokens.add(access_token)
        id_token = self._id_token(code.nonce, access_token)
        return 200, {"access_token": access_token, "token_type": "Bearer", "expires_in": 60, "id_token": id_token}

    def _knows_client(self, form: dict[str, str], authorization: str) -> bool:
        if self.client_secret is None:
            return form.get("client_id") == CLIENT_ID and not authorization
        scheme, _, given = authorization.partition(" ")
        if scheme != "Basic":
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, self.client_secret)
        name, _, secret = base64.b64decode(given).decode().partition(":")
        return (unquote_plus(name), unquote_plus(secret)) == (CLIENT_ID, self.client_secret)

    def _id_token(self, nonce: str, access_token: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 60,
            "nonce": nonce,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **{name: value for name, value in self.user.items() if name not in self.userinfo_only},
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        key = self.keys[0]
        header = {"alg": self.signs, "kid": key.kid}
        if self.signs == "none":
            parts = (json.dumps(each).encode() for each in (header, claims))
            return ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts) + "."
        if self.signs == "HS256":
            secret = OctKey.import_key(base64.b64encode(key.as_pem(private=False)).decode())
            return jws.serialize_compact(header, json.dumps(claims), secret, ["HS256"])
        # Escaped, so that a claim may be any text that JSON can carry.
        return jws.serialize_compact(header, json.dumps(claims), key)

    def userinfo(self, authorization: str) -> tuple[int, dict[str, Any]]:
        if authorization.removeprefix("Bearer ") not in self.access_tokens:
            return 401, {"error": "invalid_token"}
        return 200, {**self.user, "sub": self.userinfo_sub or self.user["sub"]}


def _new_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})


def _handler_of(provider: OidcProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = self._asked()
            if self._fails(path):
                return
            match path:
                case "/.well-known/openid-configuration":
                    self._json(200, provider.metadata())
                case "/keys":
                    self._json(200, provider.key_set())
                case "/authorize" if provider.shows_form:
                    self._html(f'<h1>The provider</h1><a href="/approve?{urlencode(query)}">Continue as Lee</a>')
                case "/authorize" | "/approve":
                    self._redirect(self._answer(query))
                case "/userinfo":
                    self._json(*provider.userinfo(self.headers.get("Authorization", "")))
                case "/end-session":
                    back = query.get("post_logout_redirect_uri", "")
                    self._html(f'<h1>Logged out at the provider</h1><a href="{back}">Back</a>')
                case "/favicon.ico":
                    self._json(200, {})
                case _:
                    self._json(404, {})

        def do_POST(self) -> None:
            path, _ = self._asked()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            if not self._fails(path):
                self._json(*provider.token(form, self.headers.get("Authorization", "")))

        def _asked(self) -> tuple[str, dict[str, str]]:
            url = urlsplit(self.path)
            provider.requests.append(url.path)
            return url.path, {name: values[0] for name, values in parse_qs(url.query).items()}

        def _answer(self, query: dict[str, str]) -> str:
            answer = {"state": query["state"]}
            if provider.authorization_error:
                answer["error"] = provider.authorization_error
            else:
                answer["code"] = provider.code_for(query)
            if provider.authorization_issuer is not None:
                answer["iss"] = provider.authorization_issuer
            return f"{query['redirect_uri']}?{urlencode(answer)}"

        def _fails(self, path: str) -> bool:
            match provider.faults.get(path):
                case "huge":
                    self._send(200, "application/json", b"")
                    self._pour(b" " * 65536, MORE_THAN_ANYONE_READS // 65536, 0.0)
                case "drip":
                    self._send(200, "application/json", b"")
                    self._pour(b" ", 600, 0.1)
                case "hang":
                    provider.stopping.wait(60)
                case "html":
                    self._html("<h1>Maintenance</h1>")
                case "error":
                    self._json(503, {})
                case "array":
                    self._json(200, [1])
                case "redirect":
                    self._redirect(f"{provider.issuer}/elsewhere")
                case _:
                    return False
            return True

        def _pour(self, piece: bytes, times: int, pause_secs: float) -> None:
            try:
                for _ in range(times):
                    self.wfile.write(piece)
                    if provider.stopping.wait(pause_secs) if pause_secs else provider.stopping.is_set():
                        return
            except OSError:
                pass  # The client has hung up.

        def _json(self, status: int, members: Any) -> None:
            self._send(status, "application/json", json.dumps(members).encode(), len(json.dumps(members)))

        def _html(self, text: str) -> None:
            body = f"<!doctype html><html lang=en><title>The provider</title>{text}".encode()
            self._send(200, "text/html; charset=utf-8", body, len(body))

        def _redirect(self, location: str) -> None:
            self.send_response(302)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, status: int, media_type: str, body: bytes, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
