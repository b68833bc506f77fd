"""How the product is broken on purpose: a piece of one function's source is replaced while a sabotage is in
force.

If the piece is not there any more, because the product was changed, that is an error: no sabotage silently
does nothing.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Sabotage(NamedTuple):
    """In the source of `owner.function`, `old` becomes `new`."""

    name: str
    owner: Any  # a class or a module
    function: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        original = inspect.getattr_static(self.owner, self.function)
        function = getattr(original, "fget", None) or getattr(original, "__func__", original)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.old) == 1, f"{self.name}: {self.function} has not exactly one {self.old!r}"
        space: dict[str, Any] = {}
        code = compile(
            source.replace(self.old, self.new), f"<sabotage: {self.name}>", "exec", flags=_ANNOTATIONS
        )
        exec(code, function.__globals__, space)
        changed = space[self.function]
        _replace(self.owner, self.function, original, changed)
        try:
            yield
        finally:
            _replace(self.owner, self.function, changed, original)


_ANNOTATIONS = 1 << 24  # from __future__ import annotations


def _replace(owner: Any, name: str, old: Any, new: Any) -> None:
    """Set the attribute, and all that stands for it in the product's modules and their tables."""
    setattr(owner, name, new)
    for module in [module for name, module in list(sys.modules.items()) if name.startswith("raftkv")]:
        names = vars(module)
        for table in [names, *(value for value in names.values() if isinstance(value, dict))]:
            for key in [key for key, value in table.items() if value is old]:
                table[key] = new
