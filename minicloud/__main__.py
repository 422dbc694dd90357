"""`minicloud` and `python -m minicloud`: the command line."""

from __future__ import annotations

from minicloud.cli import root


def main() -> None:
    """Entry point of the console script."""
    root(prog_name="minicloud")


if __name__ == "__main__":
    main()
