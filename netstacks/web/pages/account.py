"""Log-in, and the account of the user who is logged in."""

import re

from flask import Response, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from netstacks.store import logins, users
from netstacks.web.auth import guard, page_cookie
from netstacks.web.context import services
from netstacks.web.pages.layout import blueprint, render_page

# Browsers treat a backslash as a slash and drop tabs and line ends; two or more slashes lead to another site.
_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x1f]*")


@blueprint.get("/login")
def login() -> AnyResponse | str:
    target = _own_path(request.args.get("next", "/"))
    if guard.identify():
        return redirect(target)
    return render_template("login.html", next=target, has_ended=page_cookie.is_sent())


def _own_path(target: str) -> str:
    """The path if it is on this site, else `/`: a link to the log-in page must not redirect to another site."""
    return target if _OWN_PATH.fullmatch(target) else "/"


@blueprint.get("/csrf-token")
def csrf_token() -> Response:
    """The current CSRF token, for pages whose user has logged in again in another window."""
    return jsonify(csrf_token=guard.csrf_token())


@blueprint.get("/account")
@guard.requires()
def account() -> str:
    me = guard.identity()
    with services().database.transaction() as tx:
        return render_page("account.html", user=users.get(tx, me.user_id), logins=logins.of_user(tx, me.user_id))
