"""`routescope`, and `python -m routescope`."""

import signal
import sys

INTERRUPTED = 128 + signal.SIGINT
STOPPED = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


def main() -> None:
    """What the commands need takes seconds to import, and Ctrl-C may come in between. Who ends is
    not disturbed again: the interpreter takes its time."""
    try:
        from app.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        ignore_signals()
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except SystemExit as ending:
        if ending.code in STOPPED:
            ignore_signals()
        raise


def ignore_signals() -> None:
    for code in STOPPED:
        signal.signal(code - 128, signal.SIG_IGN)


if __name__ == "__main__":
    main()
