"""A page at `GET /` for whoever runs the server by hand: the model, a form to ask it, its numbers as they change.

The page is three files that never change. What it shows it asks for itself: `/openapi.json` says what the model takes,
`/metrics` has the numbers. It loads nothing from elsewhere.
"""

from functools import partial
from pathlib import Path

from flask import Flask, Response

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
_FILES = {"/": ("page.html", "html"), "/page.css": ("page.css", "css"), "/page.js": ("page.js", "javascript")}


def add_page(app: Flask) -> None:
    """Let an application answer with the page."""
    for path, (name, kind) in _FILES.items():
        app.add_url_rule(path, name, partial(_send, Path(__file__).with_name(name), kind))


def _send(file: Path, kind: str) -> Response:
    return Response(file.read_bytes(), headers=_HEADERS, content_type=f"text/{kind}; charset=utf-8")
