"""The entry of tidegate for HttpArena in Python: plain WSGI (PEP 3333), no framework.

    tidegate app:application --bind 0.0.0.0:8080 --workers 4 --threads 1

`ARENA_DATA` names the folder with `dataset.json` and `static/`. Nothing is computed beforehand, and no file is kept.
"""

import json
import os
import re
from mimetypes import guess_type
from urllib.parse import parse_qs

DATA = os.environ.get("ARENA_DATA", "/data")
STATIC = os.path.join(DATA, "static")
TEXT = ("Content-Type", "text/plain")

# Content is counted in pieces of this size, however long it is.
PIECE_BYTES = 256 * 1024

# Not every system knows them.
MEDIA_TYPES = {".js": "text/javascript", ".webp": "image/webp", ".woff2": "font/woff2"}

with open(os.path.join(DATA, "dataset.json"), "rb") as file:
    ITEMS = json.load(file)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    try:
        if path == "/baseline11":
            return text(start_response, str(total(environ)))
        if path == "/pipeline":
            return text(start_response, "ok")
        if path == "/upload":
            return text(start_response, str(count(environ["wsgi.input"])))
        if path.startswith("/static/"):
            return static(environ, start_response, path[len("/static/") :])
        if path.startswith("/json/") and path[len("/json/") :].isdecimal():
            return page(environ, start_response, int(path[len("/json/") :]))
    except (LookupError, ValueError):
        return text(start_response, "Bad Request\n", "400 Bad Request")
    return text(start_response, "Not Found\n", "404 Not Found")


def text(start_response, content, status="200 OK"):
    start_response(status, [TEXT, ("Content-Length", str(len(content)))])
    return [content.encode()]


def total(environ):
    """The sum of `a`, `b` and the content, if there is any."""
    query = parse_qs(environ["QUERY_STRING"])
    content = environ["wsgi.input"].read()
    return int(query["a"][0]) + int(query["b"][0]) + (int(content) if content else 0)


def count(content):
    """The number of bytes that come."""
    read = 0
    while piece := content.read(PIECE_BYTES):
        read += len(piece)
    return read


def page(environ, start_response, length):
    multiplier = int(parse_qs(environ["QUERY_STRING"])["m"][0])
    items = [{**item, "total": item["price"] * item["quantity"] * multiplier} for item in ITEMS[:length]]
    content = json.dumps({"items": items, "count": len(items)}, separators=(",", ":")).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def static(environ, start_response, name):
    """A file as it lies on the disk, in the coding that the client likes best of those beside it."""
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", name):
        return text(start_response, "Not Found\n", "404 Not Found")
    path = os.path.join(STATIC, name)
    codings = accepted(environ.get("HTTP_ACCEPT_ENCODING", ""))
    for coding, ending in sorted((("br", ".br"), ("gzip", ".gz")), key=lambda pair: -codings.get(pair[0], 0)):
        if codings.get(coding, 0) > 0 and (file := opened(path + ending)):
            return send(environ, start_response, name, file, [("Content-Encoding", coding)])
    if file := opened(path):
        return send(environ, start_response, name, file, [])
    return text(start_response, "Not Found\n", "404 Not Found")


def accepted(field):
    """The weights of the codings that a client takes (RFC 9110, section 12.5.3)."""
    weights = {}
    for item in field.split(","):
        coding, _, weight = item.partition(";q=")
        weights[coding.strip()] = float(weight or 1)
    return weights


def opened(path):
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def send(environ, start_response, name, file, headers):
    media_type = MEDIA_TYPES.get(os.path.splitext(name)[1]) or guess_type(name)[0] or "application/octet-stream"
    length = os.fstat(file.fileno()).st_size
    vary = ("Vary", "Accept-Encoding")
    start_response("200 OK", [("Content-Type", media_type), ("Content-Length", str(length)), vary, *headers])
    return environ["wsgi.file_wrapper"](file)
