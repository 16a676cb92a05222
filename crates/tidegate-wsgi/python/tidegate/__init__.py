"""tidegate: a WSGI server (PEP 3333) with an event loop in Rust.

Started as a command, `tidegate module:app`, or from a program::

    import tidegate

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"Hello!\\n"]

    tidegate.serve(app)

The files, in the order in which a request for a server meets them:

=================  ==============================================================================
`__main__.py`      the command: read the command line, bind, serve alone or with workers
`application.py`   "module:app" becomes an object that can be called
`worker.py`        one process that serves
`supervisor.py`    the process that keeps workers alive (`--workers`, `--reload`)
`reload.py`        a worker is replaced when a file of the application changes
`signals.py`       the signals an operator sends
`restart.py`       a process starts itself anew, and keeps its listening sockets
`exits.py`         what the exit status says, and how a process ends
`pidfile.py`       the file that names the process
`console.py`       what the operator reads
`_tidegate`        the native half: command line, sockets, HTTP, the calls of the application
=================  ==============================================================================

Nothing here is imported before it is needed: a server that is small should not start large.
"""


def __getattr__(name: str) -> str:
    """The version, asked of the native half when somebody wants to know (PEP 562)."""
    if name == "__version__":
        from tidegate import _tidegate

        return _tidegate.__version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def serve(application, bind="127.0.0.1:8000", threads: int = 4, **options) -> None:
    """Serves a WSGI application until it is shut down by a signal.

    `application` is an object to call, or its name as on the command line, "module:app". The other
    arguments are the options of the command: `workers=2` is `--workers 2`, `max_requests=1000` is
    `--max-requests 1000`, `preload=True` is `--preload`, and a list repeats an option, as in
    `bind=["127.0.0.1:8000", "unix:/run/app.sock"]`. To be called on the main thread.

    With `reload=True` give the name: only what a worker loads itself can be loaded anew by itself;
    for an object the whole program is started again.

    Raises SystemExit with the status that the command would have, where that is not 0.
    """
    from tidegate.__main__ import run

    if isinstance(application, str):
        name, application = application, None
    else:
        name = _name_of(application)
    arguments = ["tidegate", *_command_line(bind=bind, threads=threads, **options), name]
    status = run(arguments, application)
    if status != 0:
        raise SystemExit(status)


def _name_of(application) -> str:
    """The name of an application in the announcement."""
    name = getattr(application, "__name__", type(application).__name__)
    module = getattr(application, "__module__", type(application).__module__)
    return f"{module}:{name}"


def _command_line(**options) -> list:
    """`workers=2, preload=True` → `["--workers=2", "--preload"]`."""
    arguments = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is True:
                arguments.append(option)
            elif one is not False and one is not None:
                arguments.append(f"{option}={one}")
    return arguments
