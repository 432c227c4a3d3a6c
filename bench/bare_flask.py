"""A Flask application that does nothing: what a request costs before ours adds anything."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def nothing() -> Response:
    return jsonify(status="healthy")
