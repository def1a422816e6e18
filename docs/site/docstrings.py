"""Extension of Griffe: cross-references and examples in docstrings, as Sphinx and pytest have them, for mkdocstrings."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(~?)\.?([\w.]+)`")
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
logger = griffe.get_logger("docstrings")


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of a package after it is loaded."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **others: Any) -> None:
        self._rewrite(pkg)

    def _rewrite(self, parent: griffe.Module | griffe.Class) -> None:
        if parent.docstring:
            self._translate(parent, parent.docstring)
        for member in parent.members.values():
            if member.is_alias:
                continue
            if member.is_module or member.is_class:
                self._rewrite(member)
            elif member.docstring:
                self._translate(member, member.docstring)

    def _translate(self, owner: griffe.Object, docstring: griffe.Docstring) -> None:
        def link(role: re.Match[str]) -> str:
            name = role[2]
            path = _resolved(owner, name)
            if path is None:
                logger.warning("%s: %s refers to %s, which does not exist", owner.relative_filepath, owner.path, name)
                return f"`{name}`"
            shown = name.rsplit(".", 1)[-1] if role[1] else name
            return f'<autoref optional identifier="{path}"><code>{shown}</code></autoref>'

        docstring.value = EXAMPLE.sub("Examples:", ROLE.sub(link, docstring.value))


def _resolved(owner: griffe.Object, name: str) -> str | None:
    """The path of a name that a docstring refers to, from its object outwards; None if there is none."""
    package = owner.package
    first, _, rest = name.partition(".")
    if first == package.name:
        return _member(package, rest)
    scope: griffe.Object | None = owner
    while scope is not None:
        if path := _member(scope, name):
            return path
        scope = scope.parent
    return name if rest else None  # of another package


def _member(scope: griffe.Object, name: str) -> str | None:
    """The path of a member, which may be inherited or that of a member; None if there is none."""
    try:
        first, _, rest = name.partition(".")
        return _member(scope.all_members[first], rest) if rest else scope.all_members[first].path
    except (KeyError, griffe.AliasResolutionError):
        return None
