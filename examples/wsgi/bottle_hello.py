"""Bottle: its application object is a WSGI application.

    pip install bottle
    tidegate bottle_hello:app
"""

from bottle import Bottle, response

app = Bottle()


@app.get("/")
def hello():
    response.content_type = "text/plain"
    return "Hello from Bottle!\n"
