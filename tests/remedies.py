"""What a refusal must have besides a name: something to do, told by its form: WHAT IS WRONG; WHAT TO DO, and the verb that begins the second part.

`VERBS` is a word list as a speller has one: a remedy with a verb that is not in it fails, and whoever writes it adds the verb. That
way a sentence that only says more of what is wrong never passes for a remedy.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

VERBS = set(
    """
add ask build call change choose complete convert copy correct cut divide download draw fetch fill free get give install keep leave let look lower
make mark mend move name normalise open pass pick predict put read reduce remove rename repeat replace restart round run save say see select
set shrink sort split start stretch take train transpose try turn unpack update use wait write zoom
""".split()
)
WHERE = re.compile(r"python -m lib \w+|data/[\w{}.]+\.md says|give_|lib/[\w/]+\.md")  # a command that does it, or a page that says how


def has_remedy(message: str) -> bool:
    """Whether a message has a part, after a semicolon or a comma, that begins with something to do, or names a command or a page."""
    parts = re.split(r"[;,:(]\s+|\bor\b\s+|\band\b\s+|\bso\b\s+|\bthen\b\s+|\bplease\b\s+", message)[1:]
    return bool(WHERE.search(message)) or any(re.match(r"[A-Za-z]+", part) and re.match(r"[A-Za-z]+", part)[0].lower() in VERBS for part in parts)


def refusals(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every message that a module raises, with {name} in the place of what is filled in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            text = _text(node.exc.args[0])
            if text:
                yield node.lineno, text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        if isinstance(node.value, ast.IfExp):
            return _text(node.value.body) + _text(node.value.orelse)
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "{" + ast.unparse(node) + "}"
