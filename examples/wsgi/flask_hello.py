"""Flask, as its own introduction begins.

    pip install flask
    tidegate flask_hello:app
"""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    return "Hello from Flask!\n", {"Content-Type": "text/plain"}
