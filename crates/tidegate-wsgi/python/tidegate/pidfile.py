"""The file that names the process (`--pid FILE`), for scripts that send it signals."""

import os


class PidFile:
    """Written when the sockets are bound, removed at the end if it is still ours."""

    def __init__(self, path: str) -> None:
        # The directory may change under us, the file must not.
        self.path = os.path.abspath(path)

    def write(self) -> None:
        """Names this process in the file, in place of one that is no more.

        Raises OSError with a sentence: the file names a process that lives, or cannot be written.
        """
        other = self._read()
        if other == os.getpid():
            # Started again in the same process, which may have become a user since who must not write here.
            return
        if other is not None and _is_alive(other):
            raise OSError(f"{self.path} names the process {other}, which is running")
        # Renamed into place: a reader sees the old number or the new one, never half of it.
        beside = f"{self.path}.{os.getpid()}"
        try:
            with open(beside, "w") as file:
                file.write(f"{os.getpid()}\n")
            os.replace(beside, self.path)
        except OSError as error:
            raise OSError(f"cannot write the pid file {self.path}: {error.strerror}") from None

    def remove(self) -> None:
        """Removes the file, unless it has come to name another process."""
        if self._read() == os.getpid():
            try:
                os.unlink(self.path)
            except OSError:
                pass

    def _read(self):
        """The number in the file; None where there is no file, or no number in it."""
        try:
            with open(self.path) as file:
                return int(file.read(32))
        except (OSError, ValueError):
            return None


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
