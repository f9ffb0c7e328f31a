"""``python -m streams`` is the command ``tocsin``."""

from streams.commands import main

if __name__ == "__main__":
    main()
