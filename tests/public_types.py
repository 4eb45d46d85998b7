"""A walk from the public names to every type that they take or return.

It follows signatures, fields, attributes and properties.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import sys
import textwrap
import typing
from collections import deque
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, ParamSpec, TypeVar

_CONSTRUCTORS = ("__init__", "__new__")


class Walk:
    """Every class and alias of a package that its public names lead to, with the place that leads there.

    ``public`` are the modules to import from; a module that one of them lists in ``__all__`` is public as well. The
    constructors of the classes named in ``made`` are left out: the package calls them, and not its users. An alias
    whose name begins with an underscore counts for what it stands for.
    """

    def __init__(self, public: tuple[str, ...], *, made: frozenset[str] = frozenset()) -> None:
        self._package = public[0]
        self._made = made
        self.public = dict(self._names(public))
        self.reached: dict[str, tuple[Any, str]] = {}
        self._waiting: deque[tuple[Any, str]] = deque((thing, name) for name, thing in self.public.items())
        self._walked: set[int] = set()
        while self._waiting:
            self._walk(*self._waiting.popleft())

    def missing(self) -> dict[str, str]:
        """The types that are reached but cannot be imported from a public module under their name.

        Each comes with the path to it.
        """
        importable = {(name.rpartition(".")[2], id(thing)) for name, thing in self.public.items()}
        return {
            name: place
            for name, (thing, place) in self.reached.items()
            if (name.rpartition(".")[2], id(thing)) not in importable
        }

    def _names(self, modules: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name in modules:
            module = importlib.import_module(name)
            for public in module.__all__:
                thing = getattr(module, public)
                yield f"{name}.{public}", thing
                if isinstance(thing, ModuleType):
                    yield from self._names((thing.__name__,))

    def _walk(self, thing: Any, place: str) -> None:
        if id(thing) in self._walked:
            return
        self._walked.add(id(thing))
        if inspect.isclass(thing):
            for owner in inspect.getmro(thing):
                if self._is_own(owner.__module__):
                    self._members(owner, place, made=thing.__name__ in self._made)
        elif inspect.isfunction(thing):
            self._function(thing, place)

    def _members(self, owner: type, place: str, *, made: bool) -> None:
        module = sys.modules[owner.__module__]
        for name, annotation in (*inspect.get_annotations(owner).items(), *_attributes(owner)):
            if not name.startswith("_"):
                self._annotation(annotation, module, f"{place}.{name}")
        for name, member in vars(owner).items():
            if name.startswith("_") and not name.endswith("__"):
                continue
            if made and name in _CONSTRUCTORS:
                continue
            for function in functions(member):
                if function.__module__ == owner.__module__:
                    self._function(function, f"{place}.{name}")

    def _function(self, function: FunctionType, place: str) -> None:
        for form in (inspect.unwrap(function), *getattr(typing, "get_overloads", lambda _: ())(function)):
            for annotation in _written(form):
                self._annotation(annotation, sys.modules[form.__module__], place)

    def _annotation(self, annotation: Any, module: ModuleType, place: str) -> None:
        if isinstance(annotation, typing.ForwardRef):  # of a named tuple
            annotation = annotation.__forward_arg__
        if annotation is not None:  # the generated constructor of a dataclass returns None, and not "None"
            assert isinstance(annotation, str), f"{module.__name__} needs 'from __future__ import annotations'"
            self._expression(ast.parse(annotation, mode="eval").body, module, place)

    def _expression(self, tree: ast.AST, module: ModuleType, place: str) -> None:
        if isinstance(tree, ast.Subscript) and ast.unparse(tree.value).endswith("Literal"):
            return
        if isinstance(tree, ast.Subscript) and ast.unparse(tree.value).endswith("Unpack"):
            # The keys are parameters; the dictionary itself is taken by nothing.
            origin = self._origin(ast.unparse(tree.slice), module)
            if origin is not None:
                self._waiting.append((getattr(*origin), place))
            return
        if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
            tree = ast.parse(tree.value, mode="eval").body
        if isinstance(tree, (ast.Name, ast.Attribute)):
            self._name(ast.unparse(tree), module, place)
        else:
            for child in ast.iter_child_nodes(tree):
                self._expression(child, module, place)

    def _name(self, name: str, module: ModuleType, place: str) -> None:
        origin = self._origin(name, module)
        if origin is None:
            return
        home, bare = origin
        thing = getattr(home, bare)
        if isinstance(thing, (TypeVar, ParamSpec)):
            return
        alias = _definitions(home).get(bare)
        if isinstance(alias, ast.expr):
            self._expression(alias, home, place)
            if bare.startswith("_"):
                return
        self.reached.setdefault(f"{home.__name__}.{bare}", (thing, place))
        self._waiting.append((thing, bare))

    def _origin(self, name: str, module: ModuleType) -> tuple[ModuleType, str] | None:
        """The module of the package that defines what ``name`` means in ``module``, and its name there."""
        first, *rest = name.split(".")
        definition = _definitions(module).get(first)
        if definition is None:
            assert hasattr(builtins, first), f"{module.__name__} does not define {first}"
            return None
        if not isinstance(definition, str):
            return module, first
        if not self._is_own(definition):
            return None
        *homes, bare = (*definition.split("."), *rest)
        while True:
            try:
                return self._origin(bare, importlib.import_module(".".join(homes)))
            except ModuleNotFoundError:
                # A class inside another: the outer one has to be public.
                bare = homes.pop()

    def _is_own(self, module: str) -> bool:
        return module.partition(".")[0] == self._package


@functools.cache
def _definitions(module: ModuleType) -> dict[str, ast.AST | str]:
    """The meaning of a module's names.

    It is the full name of what is imported, the value of what is assigned, else the definition. Imports for type
    checkers count.
    """
    found: dict[str, ast.AST | str] = {}
    waiting: deque[ast.stmt] = deque(ast.parse(inspect.getsource(module)).body)
    while waiting:
        node = waiting.popleft()
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
        elif isinstance(node, (ast.If, ast.Try)):
            waiting.extend((*node.body, *node.orelse))
    return found


def _written(function: FunctionType) -> list[Any]:
    """The annotations of a function as they are written, where a decorator has put others in their place."""
    found = list(inspect.get_annotations(function).values())
    if all(annotation is None or isinstance(annotation, (str, typing.ForwardRef)) for annotation in found):
        return found
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    arguments = (node for node in ast.walk(definition.args) if isinstance(node, ast.arg))
    written = [*(argument.annotation for argument in arguments), definition.returns]
    return [ast.unparse(annotation) for annotation in written if annotation is not None]


def functions(member: Any) -> list[FunctionType]:
    """The functions of a member of a class, such as those of a property."""
    if isinstance(member, property):
        accessors: tuple[Any, ...] = (member.fget, member.fset)
    elif isinstance(member, (classmethod, staticmethod)):
        accessors = (member.__func__,)
    else:
        accessors = (member,)
    return [accessor for accessor in accessors if inspect.isfunction(accessor)]


def _attributes(owner: type) -> list[tuple[str, str]]:
    """The attributes that methods set on ``self``.

    Each has its annotation, or the class that is called for it.

    What is set to a parameter has the type of that, which is looked at with the signature.
    """
    found = []
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(owner)))):
        if isinstance(node, ast.AnnAssign):
            target, annotation = node.target, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            target, annotation = node.targets[0], ast.unparse(node.value.func)
            if not annotation.rpartition(".")[2][0].isupper():
                continue
        else:
            continue
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
            found.append((target.attr, annotation))
    return found
