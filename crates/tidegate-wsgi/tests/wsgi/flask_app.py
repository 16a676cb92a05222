"""Flask: sessions, blueprints, uploads, streams, files, failures; also behind the standard library's
validator, and with the page that debugging shows."""

import os
import time
from wsgiref.validate import validator

from flask import Blueprint, Flask, Response, jsonify, redirect, request, send_file, session
from flask import stream_with_context, url_for
from werkzeug.debug import DebuggedApplication

FOLDER = os.environ["PROBE_FOLDER"]
FILE = os.path.join(FOLDER, "flask-file.bin")
with open(FILE, "wb") as file:
    file.write(bytes(range(256)) * 4096)

app = Flask(__name__)
app.secret_key = "for tests only"
parts = Blueprint("parts", __name__, url_prefix="/parts")


@app.get("/")
def index():
    return "index of " + request.args.get("name", "nobody")


@app.post("/form")
def form():
    return jsonify(fields=request.form, agent=request.headers.get("X-Agent"))


@app.post("/json")
def json():
    return jsonify(got=request.get_json())


@app.post("/data")
def data():
    return Response(request.get_data(), content_type=request.content_type)


@app.post("/upload")
def upload():
    file = request.files["file"]
    content = file.read()
    return jsonify(name=file.filename, size=len(content), first=content[:3].decode("latin-1"))


@app.get("/stream")
def stream():
    @stream_with_context
    def lines():
        for number in range(5):
            yield "line %d of %s\n" % (number, request.args["name"])
            time.sleep(0.01)

    return Response(lines(), content_type="text/plain")


@app.get("/file")
def file():
    return send_file(FILE, mimetype="application/octet-stream", conditional=True, etag=True)


@app.get("/visit")
def visit():
    session["visits"] = session.get("visits", 0) + 1
    response = jsonify(visits=session["visits"])
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


@app.get("/away")
def away():
    return redirect(url_for("parts.show", name="w\u00f6rld"))


@parts.get("/<name>")
def show(name):
    return "part " + name


@app.get("/fail")
def fail():
    raise RuntimeError("flask failed on purpose")


class Sized:
    """Gives every read a size, which the validator asks for and Werkzeug leaves out."""

    def __init__(self, stream):
        self.stream = stream

    def read(self, size=-1):
        return self.stream.read(size)

    def readline(self, size=-1):
        return self.stream.readline(size)


def sized(environ, start_response):
    return app(dict(environ, **{"wsgi.input": Sized(environ["wsgi.input"])}), start_response)


app.register_blueprint(parts)
validated = validator(sized)


def debugging():
    app.debug = True
    return DebuggedApplication(app, evalex=True)
