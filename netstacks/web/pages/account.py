"""Log-in, and the account of the user who is logged in."""

from flask import Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from netstacks.store.setting_definitions import BANNER
from netstacks.web.admin.account import account_facts, held_factors
from netstacks.web.auth import enforcement, guard, page_cookie
from netstacks.web.context import services
from netstacks.web.http.own_path import own_path
from netstacks.web.pages.layout import blueprint, render_page


@blueprint.get("/login")
def login() -> AnyResponse | str:
    target = own_path(request.args.get("next", "/"))
    if guard.identify():
        return redirect(target)
    banner = services().system_settings.get(BANNER)
    return render_template("login.html", next=target, has_ended=page_cookie.is_sent(), banner=banner)


@blueprint.get("/csrf-token")
def csrf_token() -> Response:
    """The current CSRF token and its user, for pages whose user has logged in again in another window."""
    return jsonify(csrf_token=guard.csrf_token(), username=guard.identity().username)


@blueprint.get("/account")
@guard.requires()
def account() -> str:
    return render_page("account.html", **account_facts())


@blueprint.get("/account/second-factor")
@guard.requires()
def second_factor() -> AnyResponse | str:
    """The only page for a user who must set up a second factor first."""
    if not enforcement.must_set_up(guard.identity()):
        return redirect(url_for("pages.account"))
    return render_page("second_factor.html", held=held_factors())
