"""The two ways in which the product is broken on purpose, in memory.

    Instead("raft.log:RaftLog.is_up_to_date", always(True))       another function in place of one
    Edit("raft.progress", "A > self.match", "A != self.match")    another piece of code in place of one

Instead is for what has a name that others use. Edit looks for its piece in all functions of a module,
wherever that stands and however it is laid out: one capital letter stands for any expression, or for any
name behind a dot; `...` for the rest of a block. What a letter has met once, it must meet again, and it
means the same in the new piece.

If the name or the piece is not there any more, or is there twice, that is an error: no mutant silently does
nothing.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Callable, NamedTuple, Union

Function = Callable[..., Any]
Change = tuple[Any, str, Any]  # (class or module, name of its attribute, what is there instead)


def always(value: Any) -> Callable[[Function], Function]:
    """A function that does nothing but return `value`."""
    return lambda original: lambda *args, **kwargs: value


class Instead(NamedTuple):
    """In place of `target` (module:name or module:class.name) there is what `wrap` makes of it."""

    target: str
    wrap: Callable[[Any], Any]

    def change(self) -> Change:
        module, _, path = self.target.partition(":")
        *owners, name = path.split(".")
        owner = _owner(import_module(f"raftkv.{module}"), owners)
        return owner, name, self.wrap(inspect.getattr_static(owner, name))


class Edit(NamedTuple):
    """In the functions of `module`, `old` becomes `new`: an expression, or statements."""

    module: str
    old: str
    new: str

    def change(self) -> Change:
        module = import_module(f"raftkv.{self.module}")
        editor = _Editor(self.old, self.new)
        edited = []
        for owners, function in _functions(ast.parse(inspect.getsource(module)), []):
            before = editor.found
            editor.visit(function)
            if editor.found > before:
                edited.append((owners, function))
        assert editor.found == 1, f"{self.module} has {editor.found} pieces {self.old!r} instead of one"
        ((owners, function),) = edited
        tree = ast.fix_missing_locations(ast.Module([function], []))
        space: dict[str, Any] = {}
        exec(compile(tree, str(module.__file__), "exec"), vars(module), space)
        return _owner(module, owners), function.name, space[function.name]


Breakage = Union[Instead, Edit]


@contextmanager
def in_force(breakage: Breakage) -> Iterator[None]:
    """The product is broken in this process."""
    owner, name, changed = breakage.change()
    original = inspect.getattr_static(owner, name)
    _replace(owner, name, original, changed)
    try:
        yield
    finally:
        _replace(owner, name, changed, original)


def _replace(owner: Any, name: str, old: Any, new: Any) -> None:
    """Set the attribute, and all that stands for it in the product's modules and their tables."""
    setattr(owner, name, new)
    for module in [module for name, module in list(sys.modules.items()) if name.startswith("raftkv")]:
        names = vars(module)
        for table in [names, *(value for value in names.values() if isinstance(value, dict))]:
            for key in [key for key, value in table.items() if value is old]:
                table[key] = new


def _owner(module: Any, path: Sequence[str]) -> Any:
    for name in path:
        module = getattr(module, name)
    return module


def _functions(tree: ast.AST, owners: list[str]) -> Iterator[tuple[list[str], ast.FunctionDef]]:
    """The functions of a module, and the names of the classes that they are in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield owners, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, [*owners, node.name])


class _Editor(ast.NodeTransformer):
    """Replaces each match in the nodes that it visits, and counts them."""

    def __init__(self, old: str, new: str) -> None:
        self.found = 0
        self._old, self._new = (ast.parse(inspect.cleandoc(source)).body for source in (old, new))
        self._is_expression = all(
            len(side) == 1 and isinstance(side[0], ast.Expr) for side in (self._old, self._new)
        )

    def generic_visit(self, node: ast.AST) -> ast.AST:
        node = super().generic_visit(node)
        for field in () if self._is_expression else ("body", "orelse", "finalbody"):
            suite = getattr(node, field, None)
            if isinstance(suite, list):
                setattr(node, field, self._edited(suite))
        return node

    def visit(self, node: ast.AST) -> Any:
        bound: dict[str, Any] = {}
        if self._is_expression and _match(self._old[0].value, node, bound):  # type: ignore[attr-defined]
            self.found += 1
            return _Filler(bound).visit(copy.deepcopy(self._new[0].value))  # type: ignore[attr-defined]
        return super().visit(node)

    def _edited(self, suite: list[ast.stmt]) -> list[ast.stmt]:
        size = len(self._old)
        for at in range(len(suite) - size + 1):
            bound: dict[str, Any] = {}
            if _match(self._old, suite[at : at + size], bound):
                self.found += 1
                new = [_Filler(bound).visit(copy.deepcopy(statement)) for statement in self._new]
                return suite[:at] + new + suite[at + size :]
        return suite


def _is_rest(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def _match(pattern: Any, found: Any, bound: dict[str, Any]) -> bool:
    """Is `found` an instance of `pattern`? Notes in `bound` what the letters stand for."""
    if isinstance(pattern, ast.Name) and _is_letter(pattern.id):
        return isinstance(found, ast.expr) and _bind(pattern.id, found, bound)
    if type(pattern) is not type(found):
        return False
    if isinstance(pattern, ast.AST):
        fields = [field for field in pattern._fields if field not in ("ctx", "kind", "type_comment")]
        return all(_match(getattr(pattern, field), getattr(found, field), bound) for field in fields)
    if isinstance(pattern, list):
        if len(pattern) == 1 and _is_rest(pattern[0]):
            return _bind("...", found, bound)
        return len(pattern) == len(found) and all(_match(*pair, bound) for pair in zip(pattern, found))
    return _bind(pattern, found, bound) if _is_letter(pattern) else pattern == found


def _is_letter(name: Any) -> bool:
    return isinstance(name, str) and len(name) == 1 and name.isupper()


def _bind(name: str, found: Any, bound: dict[str, Any]) -> bool:
    known = bound.setdefault(name, found)
    return known == found or (isinstance(found, ast.AST) and ast.unparse(known) == ast.unparse(found))


class _Filler(ast.NodeTransformer):
    """Puts what the letters of a pattern stand for into the new piece."""

    def __init__(self, bound: dict[str, Any]) -> None:
        self._bound = bound

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return copy.deepcopy(self._bound.get(node.id, node))

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self._bound.get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> Any:
        return self._bound["..."] if _is_rest(node) else self.generic_visit(node)
