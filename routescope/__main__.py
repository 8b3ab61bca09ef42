"""`routescope`, and `python -m routescope`."""

import sys


def main() -> None:
    """What the commands need takes seconds to import, and Ctrl-C may come in between."""
    try:
        from app.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
