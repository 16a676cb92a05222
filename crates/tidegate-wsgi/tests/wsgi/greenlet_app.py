"""An application with a greenlet that is older than any request: it began on a shallower stack.

When it runs, its stack lies where that of the call has lain.
"""

import greenlet


def _work():
    results = None
    while True:
        act = greenlet.getcurrent().parent.switch(results)
        try:
            results = act()
        except RuntimeError:
            results = "refused"


worker = greenlet.greenlet(_work)
worker.switch()


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    written = worker.switch(lambda: write(b"x" * 100_000))
    is_gone = worker.switch(environ["tidegate.client_disconnected"])
    return [f"{written} {is_gone}".encode()]
