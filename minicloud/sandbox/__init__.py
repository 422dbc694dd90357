"""A whole throw-away cloud around one command: `minicloud sandbox run -- COMMAND`.

Why: a test or a lesson wants a real cloud, root's machine wants to be left alone. The cloud lives in network and mount
namespaces of its own, with its own libvirtd, and everything is gone when the command ends, however it ends. Called by
the command line and, through it, by `make test`; two at once don't meet.

`guard.py` stays outside and cleans up; `inside.py` is the sandbox's first process; `folder.py` is what they share.
"""

from __future__ import annotations

from minicloud.sandbox.guard import FAILED, run

__all__ = ["FAILED", "run"]
