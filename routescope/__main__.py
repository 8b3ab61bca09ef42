"""`routescope`, and `python -m routescope`."""

from app.cli import main

if __name__ == "__main__":
    main()
