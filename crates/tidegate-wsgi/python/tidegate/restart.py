"""A process starts itself anew, and keeps its listening sockets.

Where there is no supervisor, a new application can only be loaded by a new program in the same
process: `execv`. The process keeps its number, so that systemd and a pid file go on being right, and
its listening sockets stay open: whoever connects meanwhile waits in their queue and is served by the
new program. Nobody is refused.

How the new program learns of the sockets: by an environment variable, which it takes away at once, so
that no child of the application takes them for its own. The command line stays as it was, for the
operator who looks at `ps` and for the application that reads it; the addresses on it are put aside
when it is read.

    TIDEGATE_INHERITED=4711:5,6          in the process 4711
    tidegate -b :8000 -b :8001 app:app   is read as
    tidegate --bind fd://5 --bind fd://6 app:app
"""

import os
import sys

from tidegate import signals
from tidegate.exits import run_exit_functions

_VARIABLE = "TIDEGATE_INHERITED"
_ADDRESS_OPTIONS = ("-b", "--bind", "-l", "--listen")


def with_inherited_sockets(arguments: list) -> list:
    """The command line as it is to be read: with the sockets that this process has kept, if any."""
    owner, _, descriptors = os.environ.pop(_VARIABLE, "").partition(":")
    if owner != str(os.getpid()) or not descriptors:
        return arguments
    return _adopt(arguments, descriptors.split(","))


def _adopt(arguments: list, descriptors: list) -> list:
    """Puts descriptors in the place of all addresses on a command line."""
    adopted = [arguments[0]]
    for descriptor in descriptors:
        adopted += ["--bind", f"fd://{descriptor}"]
    rest = iter(arguments[1:])
    for argument in rest:
        if argument in _ADDRESS_OPTIONS:
            next(rest, None)
        elif argument == "--":
            adopted += [argument, *rest]
        elif not argument.startswith(("--bind=", "--listen=")) and argument[:2] not in ("-b", "-l"):
            adopted.append(argument)
    return adopted


class Origin:
    """How and where this program was started: remembered at the start, to be done once more."""

    def __init__(self) -> None:
        self.directory = _working_directory()
        self._command = _command()

    def enter(self, directory) -> None:
        """Makes a directory the working one: None for that of the start, others are relative to it.

        By name, each time: behind the name "current" there may be another release by now.
        """
        os.chdir(os.path.join(self.directory, directory or ""))

    def restart(self, listeners: list) -> None:
        """Becomes a new program with these listening sockets. Returns only by an OSError."""
        descriptors = ",".join(str(listener.detach_for_exec()) for listener in listeners)
        os.environ[_VARIABLE] = f"{os.getpid()}:{descriptors}"
        os.chdir(self.directory)
        run_exit_functions()
        # Held back until the new program can hear them: by default they would end it.
        signals.hold()
        os.execv(sys.executable, self._command)


def _working_directory() -> str:
    """The working directory by the name the shell has for it, which may lead through a link."""
    directory, name = os.getcwd(), os.environ.get("PWD", "")
    try:
        return name if os.path.isabs(name) and os.path.samefile(name, directory) else directory
    except OSError:
        return directory


def _command() -> list:
    """The command line of the interpreter that runs us."""
    if sys.version_info >= (3, 10):
        return [sys.executable, *sys.orig_argv[1:]]
    # Options of the interpreter itself (-O, -X …) are not known here.
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        return [sys.executable, *sys.argv]
    name = spec.name[: -len(".__main__")] if spec.name.endswith(".__main__") else spec.name
    return [sys.executable, "-m", name, *sys.argv[1:]]
