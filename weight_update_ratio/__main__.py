"""The process of the command, which ``weight-update-ratio`` and ``python -m weight_update_ratio`` start.

Exit code 1 means that the rule fired, but Python ends with 1 whatever goes wrong. So all that may go wrong, the imports
too, happens within ``main``.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command; whatever keeps it from a verdict ends with a message and exit code 2."""
    code: str | int | None = 2
    try:
        import contextlib
        import signal
        import threading

        from .errors import needed_by
        from .files import UNFINISHED

        def end(number: int, frame: object) -> None:
            """End at once: an exception could be swallowed, or become another one, in the code that it passes."""
            try:
                for name in list(UNFINISHED):
                    with contextlib.suppress(OSError):
                        os.unlink(name)
                signal.signal(number, signal.SIG_DFL)  # a second one does not wait until stderr takes the message
                if os.isatty(2):
                    os.write(2, b"\r\x1b[2K\x1b[?25h")  # clears the progress bar, and shows the cursor that it hides
                if number == signal.SIGINT:
                    os.write(2, b"Error: interrupted before the trial was judged\n\nRun the command again.\n")
            finally:
                os._exit(2 if number == signal.SIGINT else 128 + number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # which nohup, and a shell's &, set
                signal.signal(number, end)
        # OpenBLAS, which NumPy loads, begins a thread for each core. They take memory, and ratio.py uses one only.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        with needed_by("the command"):
            from .cli import main as command

        command(prog_name="weight-update-ratio")
    except SystemExit as ended:
        code = ended.code
        if any(thread.name.startswith("S3_") for thread in threading.enumerate()):  # pragma: no cover  (it ends here)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(code or 0))  # Python would wait for requests that hang
    except BaseException as error:
        remedy = "Install it again, or report it; check_trial(TRIAL) in Python shows where it happens."
        print(f"Error: the command cannot be loaded or run: {error!r}\n\n{remedy}", file=sys.stderr, flush=True)
    finally:
        sys.exit(code)  # also if stderr cannot be written


if __name__ == "__main__":
    main()
