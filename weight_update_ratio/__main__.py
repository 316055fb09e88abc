"""The process of the command, which ``weight-update-ratio`` and ``python -m weight_update_ratio`` start.

Exit code 1 means that the rule fired, but Python ends with 1 for whatever goes wrong. So all that may go wrong, the
imports too, happens within ``main``, which handles closed streams, signals and a lack of memory.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False  # typing's own would be imported before main, where a failure ends with 1
if TYPE_CHECKING:
    from typing import Any


class Stream(io.FileIO):
    """The file of stdout or stderr. A closed pipe is ignored. Any other error on stdout is raised once.

    Python writes what is left in a buffer when it ends. Where that fails, it changes the exit code to 120.
    """

    failed = False

    def write(self, data: Any) -> int:
        """Write what can be written, and return how much of it need not be written again."""
        try:
            return len(data) if self.failed else super().write(data)
        except OSError as error:
            self.failed = True
            if self.fileno() == 1 and not isinstance(error, BrokenPipeError):
                raise
            return len(data)


def open_streams() -> None:
    """Replace stdout and stderr by ones that may fail; where a caller closed one, or stdin, it is the null device.

    Otherwise the next file that is opened would get the closed stream's number and its output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if number:
            old = getattr(sys, name)  # None where it was closed
            encoding, errors = getattr(old, "encoding", "utf-8"), getattr(old, "errors", "backslashreplace")
            buffer = io.BufferedWriter(Stream(number, "w", closefd=False))
            at_once = number == 2 or os.isatty(number)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding, errors, line_buffering=at_once))


def main() -> None:
    """Run the command; whatever keeps it from a verdict ends with a message and exit code 2."""
    code: Any = 2
    unfinished: set[str] = set()

    def end(number: int, frame: Any) -> None:
        """End at once. An exception could be swallowed, or become another one, in the code that it passes through."""
        try:
            for name in list(unfinished):
                try:  # noqa: SIM105  (a signal may come before contextlib is there)
                    os.unlink(name)
                except OSError:
                    pass
            signal.signal(number, signal.SIG_DFL)  # a second one does not wait until stderr takes the message
            if os.isatty(2):
                os.write(2, b"\r\x1b[2K\x1b[?25h")  # clears the progress bar, and shows the cursor that it hides
            if number == signal.SIGINT:
                os.write(2, b"Error: interrupted before the trial was judged\n\nRun the command again.\n")
        finally:
            os._exit(2 if number == signal.SIGINT else 128 + number)

    try:
        import signal

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # which nohup, and a shell's &, set
                signal.signal(number, end)
        open_streams()
        # OpenBLAS, which NumPy loads, begins a thread for each core. They take memory, and ratio.py uses one only.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from . import files

        unfinished = files.UNFINISHED
        from .cli import main as command

        command(prog_name="weight-update-ratio")
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        what, remedy = (
            "a defect of this command",
            "Please report it; check_trial(TRIAL) in Python shows where it happens.",
        )
        if isinstance(error, (ImportError, MemoryError)):
            what, remedy = "the command cannot be loaded or run", "Give it more memory, or install it again."
        try:  # noqa: SIM105  (contextlib may be what could not be imported)
            print(f"Error: {what}: {error!r}\n\n{remedy}", file=sys.stderr, flush=True)
        except BaseException:  # noqa: S110  (what cannot be said does not change the exit code)
            pass
    sys.exit(code)


if __name__ == "__main__":
    main()
