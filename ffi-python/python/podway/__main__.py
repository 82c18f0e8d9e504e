"""`podway` and `python -m podway`: the command, the same Rust code that `cargo install` builds."""

from __future__ import annotations

import contextlib
import signal
import sys

from podway import _podway


def main() -> int:
    """Runs the command with this process's arguments; gives back its exit code."""
    command = getattr(_podway, "command", None)
    if command is None:
        print("podway: this build of the package comes without the command", file=sys.stderr)
        return 2
    sys.stdout.flush()
    # The command sees to Ctrl-C itself; Python would raise KeyboardInterrupt once it has ended.
    with contextlib.suppress(ValueError):  # on another thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code: int = command(["podway", *sys.argv[1:]])
    return code


if __name__ == "__main__":
    sys.exit(main())
