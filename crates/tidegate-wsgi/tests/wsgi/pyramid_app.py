"""Pyramid: renderers, files, streams, exception views; also behind the standard library's validator."""

import os
from wsgiref.validate import validator

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPNotFound
from pyramid.response import FileResponse, Response

FILE = os.path.join(os.environ["PROBE_FOLDER"], "pyramid-file.txt")
with open(FILE, "w") as file:
    file.write("line of a file\n" * 10000)


def index(request):
    return Response("index of " + request.params.get("name", "nobody"))


def match(request):
    return {"matched": request.matchdict["name"], "method": request.method, "host": request.host}


def form(request):
    upload = request.POST.get("file")
    size = len(upload.file.read()) if hasattr(upload, "file") else 0
    return {"field": request.POST.get("field"), "size": size}


def echo(request):
    return Response(request.body, content_type="application/octet-stream")


def stream(request):
    return Response(app_iter=(b"line %d\n" % number for number in range(5)), content_type="text/plain")


def file(request):
    return FileResponse(FILE, request=request, content_type="text/plain")


def away(request):
    return HTTPFound(request.route_url("match", name="w\u00f6rld"))


def missing(request):
    raise HTTPNotFound("nothing here")


def fail(request):
    raise RuntimeError("pyramid failed on purpose")


def failed(error, request):
    return Response("handled: %s" % error, status=503)


def make(is_handling=True):
    with Configurator() as config:
        for view, route, renderer in [
            (index, "/", None),
            (match, "/match/{name}", "json"),
            (form, "/form", "json"),
            (echo, "/echo", None),
            (stream, "/stream", None),
            (file, "/file", None),
            (away, "/away", None),
            (missing, "/missing", None),
            (fail, "/fail", None),
        ]:
            config.add_route(view.__name__, route)
            config.add_view(view, route_name=view.__name__, renderer=renderer)
        if is_handling:
            config.add_exception_view(failed, context=RuntimeError)
        return config.make_wsgi_app()


app = make()
validated = validator(app)
