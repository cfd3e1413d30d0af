"""`python -m execaudit`."""

from execaudit.cli import main

if __name__ == "__main__":
    main()
