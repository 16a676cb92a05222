"""Bottle: forms, files, streams, cookies, failures; also behind the standard library's validator."""

import os
from wsgiref.validate import validator

from bottle import Bottle, abort, redirect, request, response, static_file

FOLDER = os.environ["PROBE_FOLDER"]
with open(os.path.join(FOLDER, "bottle.bin"), "wb") as file:
    file.write(bytes(range(256)) * 1000)

app = Bottle()


@app.get("/")
def index():
    response.content_type = "text/plain; charset=utf-8"
    return "index of " + request.query.getunicode("name", "nobody")


@app.post("/form")
def form():
    file = request.files.get("file")
    return {"field": request.forms.getunicode("field"), "size": len(file.file.read()) if file else 0}


@app.route("/echo", method=["POST", "PUT"])
def echo():
    response.content_type = "application/octet-stream"
    return request.body.read()


@app.get("/stream")
def stream():
    response.content_type = "text/plain"
    for number in range(5):
        yield "line %d\n" % number


@app.get("/file")
def file():
    return static_file("bottle.bin", root=FOLDER)


@app.get("/visit")
def visit():
    visits = int(request.get_cookie("visits", secret="for tests only") or 0) + 1
    response.set_cookie("visits", str(visits), secret="for tests only")
    return {"visits": visits}


@app.get("/away")
def away():
    redirect("/?name=away")


@app.get("/teapot")
def teapot():
    abort(418, "short and stout")


@app.get("/fail")
def fail():
    raise RuntimeError("bottle failed on purpose")


validated = validator(app)
