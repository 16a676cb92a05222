"""How processes end: what their exit status says, and the two ways past the usual end."""

import atexit
import os
import sys

from tidegate import console

SHUT_DOWN = 0
FAILED = 1
# 2, a wrong command line, is said by the native half.
NOT_LOADED = 3
# From a worker to its supervisor, and to nobody else: "my files have changed". Where sysexits.h ends, so that it
# is not taken for what an application says itself.
CHANGED = 80


def run_exit_functions() -> None:
    """Runs what an application has left for the end of the process (`atexit`), and writes what is in buffers."""
    atexit._run_exitfuncs()
    flush()


def flush() -> None:
    """Writes what Python's own streams still hold."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    console.finish()


def leave(status: int, wait_for_threads: bool = True) -> None:
    """Ends the process here, and not by returning through those who have called us.

    So it must be in a forked process: the callers are its parent's, and what they do at the end is
    the parent's to do. (multiprocessing ends its children in the same way.) And so it must be where a
    thread is still inside the application: it would be torn out of native code while the
    interpreter is taken down.
    """
    threading = sys.modules.get("threading")
    if wait_for_threads and threading is not None:
        threading._shutdown()
    run_exit_functions()
    os._exit(status)
