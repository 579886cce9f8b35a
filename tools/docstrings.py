"""How mkdocstrings reads the package: ``Example:`` is a section of code, and what is private stays out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Names the section as griffe does: by ``Example:`` it would show prompts as running text."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Change the docstring of each object, before :class:`Namesakes` puts some files out of reach."""
        for obj in _objects(pkg):
            if obj.docstring:
                text = obj.docstring.value
                obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)


class Namesakes(griffe.Extension):
    """Shows the function where a file has its name: ``meden.tune`` is one at run time, and a module to griffe."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Put each public function in the place of the module that holds it."""
        rooms = [pkg, *pkg.modules.values()]
        shown = [(room, name) for room in rooms for name in _given_on(room) if name in room.members]
        found = [(room, name, _final(room.members[name])) for room, name in shown]  # before any place changes
        for room, name, target in found:
            if isinstance(target, griffe.Module) and name in target.members:
                room.set_member(name, griffe.Alias(name, target=target.members[name], parent=room))


def _objects(obj: griffe.Object) -> Iterator[griffe.Object]:
    """Yield an object and all that are defined in it."""
    yield obj
    for member in obj.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _given_on(room: griffe.Module) -> list[str]:
    """Return the names that a room lists, or imports from below itself."""
    below = [name for name, path in room.imports.items() if path.startswith(f"{room.path}.")]
    return sorted({*map(str, room.exports or ()), *below})


def _final(member: griffe.Object | griffe.Alias) -> griffe.Object | griffe.Alias:
    return member.final_target if member.is_alias else member
