"""Pyramid: a function that makes the application, called by the server.

    pip install pyramid
    tidegate "pyramid_hello:make_application()"
"""

from pyramid.config import Configurator
from pyramid.response import Response


def hello(request):
    return Response("Hello from Pyramid!\n", content_type="text/plain")


def make_application():
    with Configurator() as config:
        config.add_route("hello", "/")
        config.add_view(hello, route_name="hello")
        return config.make_wsgi_app()
