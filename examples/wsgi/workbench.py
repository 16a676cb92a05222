"""The workbench: small routes that try out every way to answer. Benchmarks and conformance tests
drive servers through it. Plain WSGI (PEP 3333), no framework; `examples/workbench.rs` is the same
application without Python.

    tidegate workbench:application
    curl -i http://127.0.0.1:8000/plaintext

| route | method | answer |
|---|---|---|
| `/plaintext` | GET, HEAD | `Hello, World!` |
| `/json` | GET | the same as JSON, serialised for each request |
| `/echo` | any | the content of the request |
| `/environ` | any | the environ as a JSON object of strings, and `body_length` |
| `/bytes?n=N` | GET, HEAD | N bytes, with Content-Length |
| `/stream?chunks=C&size=S` | GET | C pieces of S bytes, without Content-Length |
| `/sleep?ms=M` | GET | `slept M`, M milliseconds later (others are served meanwhile, with threads) |
| `/status?code=N` | GET, HEAD | status N without content |
| `/fail` | GET | 500: the application raises |
| `/fail-midway` | GET | 200, five bytes, and then a cut connection |
| `/header?name=K&value=V` | GET | 200 with the field `K: V`, or 500 if it is none |
"""

import json
import time
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

TEXT = ("Content-Type", "text/plain")
JSON = ("Content-Type", "application/json")
BYTES = ("Content-Type", "application/octet-stream")

# Content longer than this is handed over piece by piece, so that no client can ask for memory.
PIECE_BYTES = 16 * 1024

# The largest numbers that make sense in a query; beyond them 400.
BYTES_MAX = 1 << 40
PIECE_SIZE_MAX = 16 << 20
SLEEP_MILLIS_MAX = 3_600_000


def application(environ, start_response):
    answer, is_for_any_method = ROUTES.get(environ["PATH_INFO"], (not_found, True))
    if not is_for_any_method and environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        start_response("405 Method Not Allowed", [TEXT, ("Allow", "GET, HEAD")])
        return [b"Method Not Allowed\n"]
    try:
        return answer(environ, start_response)
    except BadRequest:
        start_response("400 Bad Request", [TEXT])
        return [b"Bad Request\n"]


def plaintext(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "13")])
    return [b"Hello, World!"]


def json_(environ, start_response):
    content = json.dumps({"message": "Hello, World!"}, separators=(",", ":")).encode()
    start_response("200 OK", [JSON, ("Content-Length", str(len(content)))])
    return [content]


def echo(environ, start_response):
    content_type = environ.get("CONTENT_TYPE") or "application/octet-stream"
    length = environ.get("CONTENT_LENGTH") or "0"
    start_response("200 OK", [("Content-Type", content_type), ("Content-Length", length)])
    return pieces_of(environ["wsgi.input"])


def pieces_of(stream):
    return iter(lambda: stream.read(PIECE_BYTES), b"")


def environ_(environ, start_response):
    variables = {name: value for name, value in environ.items() if isinstance(value, str)}
    variables["body_length"] = str(sum(map(len, pieces_of(environ["wsgi.input"]))))
    content = json.dumps(variables).encode()
    start_response("200 OK", [JSON, ("Content-Length", str(len(content)))])
    return [content]


def bytes_(environ, start_response):
    count = number(environ, "n", BYTES_MAX)
    start_response("200 OK", [BYTES, ("Content-Length", str(count))])
    if count <= PIECE_BYTES:
        return [b"x" * count]
    return many_bytes(count)


def many_bytes(count):
    piece = b"x" * PIECE_BYTES
    for _ in range(count // PIECE_BYTES):
        yield piece
    yield b"x" * (count % PIECE_BYTES)


def stream(environ, start_response):
    count = number(environ, "chunks", BYTES_MAX)
    piece = b"x" * number(environ, "size", PIECE_SIZE_MAX)
    start_response("200 OK", [BYTES])
    # Any number of pieces without a byte is no content at all.
    return (piece for _ in range(count if piece else 0))


def sleep(environ, start_response):
    millis = number(environ, "ms", SLEEP_MILLIS_MAX)
    time.sleep(millis / 1000)
    start_response("200 OK", [TEXT])
    return [b"slept %d" % millis]


def status(environ, start_response):
    code = number(environ, "code", 599)
    if code < 200:
        raise BadRequest
    try:
        reason = HTTPStatus(code).phrase
    except ValueError:
        reason = "Unknown"
    start_response("%d %s" % (code, reason), [])
    return []


def fail(environ, start_response):
    raise RuntimeError("this is what /fail is for")


def fail_midway(environ, start_response):
    start_response("200 OK", [TEXT])
    yield b"begin"
    raise RuntimeError("this is what /fail-midway is for")


def header(environ, start_response):
    name, value = (unquote_to_bytes(parameter(environ, key)) for key in ("name", "value"))
    # What is no field is for start_response to say.
    start_response("200 OK", [(name.decode("latin-1"), value.decode("latin-1"))])
    return []


def not_found(environ, start_response):
    start_response("404 Not Found", [TEXT])
    return [b"Not Found\n"]


class BadRequest(Exception):
    """The query does not say what it should."""


def parameter(environ, name):
    """The value of a parameter, still percent-encoded."""
    for pair in environ["QUERY_STRING"].split("&"):
        other, is_pair, value = pair.partition("=")
        if is_pair and other == name:
            return value
    raise BadRequest


def number(environ, name, largest):
    digits = parameter(environ, name)
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= 20
    if not (is_number and int(digits) <= largest):
        raise BadRequest
    return int(digits)


# What answers, and whether it does so for any method.
ROUTES = {
    "/plaintext": (plaintext, False),
    "/json": (json_, False),
    "/echo": (echo, True),
    "/environ": (environ_, True),
    "/bytes": (bytes_, False),
    "/stream": (stream, False),
    "/sleep": (sleep, False),
    "/status": (status, False),
    "/fail": (fail, False),
    "/fail-midway": (fail_midway, False),
    "/header": (header, False),
}
