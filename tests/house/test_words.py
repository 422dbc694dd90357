"""What the product says when it refuses or fails: whole sentences for people, in every `raise` of the tree.

Beside this, `test_doors.py` and `test_openapi.py` listen to the refusals that they are told over HTTP.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from minicloud.core import errors
from tests.house.faults import WELL_KNOWN
from tests.house.test_imports import modules

KINDS = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.MinicloudError)
}
HOLE = "\0"
"""Stands where a value comes into a message."""


def messages() -> Iterator[tuple[str, str, ast.expr]]:
    """(place, text, expression) of each message that stands literally where an error is made."""
    for path, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            text = _text(node.args[0]) if name in KINDS else None
            if text is not None:
                yield f"{path}:{node.lineno}", text, node.args[0]


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return None


def test_every_message_is_a_whole_sentence() -> None:
    wrong = [
        f"{place}: {text!r}"
        for place, text, _ in messages()
        if not place.startswith("placement/")  # its clients' published conversations compare texts to the letter
        and not any(known.match(text) for known in WELL_KNOWN)
        and not (_begins_well(text) and text.endswith((".", "?", ": " + HOLE, ". " + HOLE, "\n" + HOLE)))
        and text not in (HOLE, f"{HOLE} {HOLE}")
    ]
    assert not wrong, "\n".join(wrong)


def _begins_well(text: str) -> bool:
    # "it ..." is the second half of a sentence whose first half, with the field's name, `Schema` puts before it
    return text[0] in (HOLE, "'") or text[0].isupper() or text[0].isdigit() or text.startswith("it ")


def test_no_message_is_empty_or_endless() -> None:
    wrong = [f"{place}: {text!r}" for place, text, _ in messages() if not (8 <= len(text) <= 300 or HOLE in text)]
    assert not wrong, "\n".join(wrong)


def test_no_message_tells_where_things_lie_on_the_host() -> None:
    """What users are told holds no path: that is for the log and for `detail`. The command line and its operator may know."""
    rooms = (
        "cli/",
        "sandbox/",
        "guest/",
        "demo/",
        "config.py",
        "daemon.py",
        "core/store.py",
        "identity/keys.py",
        "host/",
    )
    wrong = [
        f"{place}: {ast.unparse(node)}"
        for place, _, node in messages()
        if not place.startswith(rooms)
        and any(word in ast.unparse(node) for word in ("path}", "path)}", "folder}", ".paths."))
    ]
    assert not wrong, "\n".join(wrong)
