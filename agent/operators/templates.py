"""Prompts are Markdown files with named fields: loaded once, checked against their table, and filled in."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from agent.core.errors import UserError

_HEADING = re.compile(r"(#+) ")
_LEAD_IN = 7
"""The level of a paragraph that ends with a colon: it is kept only if text follows, like a heading of the lowest level."""
_TABLE_ROW = re.compile(r"\| `(?P<file>\w+)\.md` \|.*\| (?P<names>[^|]*) \|\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Template:
    """Markdown with fields written `$name` (`$$` is a dollar). Values are put in once and never scanned again.

    A paragraph with a field that is empty is left out, and so are a heading with nothing left below it and a paragraph
    that leads into the one left out, which means that it ends with a colon.
    Raises UserError for a text with a stray dollar: templates are files that users edit.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        if not string.Template(self.text).is_valid():
            raise UserError(f"The prompt {self.name} has a `$` that begins no name: write `$$` for a dollar sign.")

    @cached_property
    def fields(self) -> frozenset[str]:
        return frozenset(string.Template(self.text).get_identifiers())

    @cached_property
    def _paragraphs(self) -> tuple[string.Template, ...]:
        return tuple(string.Template(part) for part in re.split(r"\n{2,}", self.text.strip()))

    def fill(self, **values: str) -> str:
        """The text with every field filled in. Raises UserError if a name is missing or not used by the text."""
        if self.fields != values.keys():
            missing, unused = sorted(self.fields - values.keys()), sorted(values.keys() - self.fields)
            raise UserError(f"The prompt {self.name} does not fit its values: {missing=}, {unused=}.")
        trimmed = {name: value.strip("\n") for name, value in values.items()}
        kept: list[str] = []
        waiting: list[tuple[int, str]] = []
        for paragraph in self._paragraphs:
            heading = _HEADING.match(paragraph.template)
            lead_in = paragraph.template.endswith(":")
            level = len(heading[1]) if heading else _LEAD_IN
            complete = all(trimmed[name].strip() for name in paragraph.get_identifiers())
            if heading or lead_in or not complete:
                waiting = [one for one in waiting if one[0] < level]
            if not complete:
                continue
            if heading or lead_in:
                waiting.append((level, paragraph.substitute(trimmed)))
            else:
                kept += [text for _, text in waiting] + [paragraph.substitute(trimmed)]
                waiting = []
        return "\n\n".join(kept)


@dataclass(frozen=True)
class Prompts:
    """All texts of the folder `prompts/`, by file name without `.md`."""

    parts: Mapping[str, Template]
    """The operators' templates and the pieces they are composed of."""
    roles: Mapping[str, str]
    directives: Mapping[str, str]
    digest: str
    """Changes when any text changes that an LLM may be shown (the README is for people)."""

    @classmethod
    def load(cls, folder: Path) -> Prompts:
        """Read the folder once. Raises UserError if a template's fields are not those that the table in its README lists."""
        documented = _documented_names(_read(folder / "README.md"))
        texts = {path.stem: _read(path) for path in sorted(folder.glob("*.md")) if path.name != "README.md"}
        for name in sorted(documented.keys() ^ texts.keys()):
            where = "has no file" if name in documented else "is missing from the table"
            raise UserError(f"{folder / 'README.md'}: the prompt {name}.md {where}.")
        parts = {name: Template(f"{name}.md", text) for name, text in texts.items()}
        for name, template in parts.items():
            if template.fields != documented[name]:
                raise UserError(
                    f"{folder / template.name} has the fields {sorted(template.fields)}, "
                    f"but the table in README.md lists {sorted(documented[name])}."
                )
        roles, directives = _texts(folder / "roles"), _texts(folder / "directives")
        return cls(
            parts=MappingProxyType(parts),
            roles=MappingProxyType(roles),
            directives=MappingProxyType(directives),
            digest=_digest({"parts": texts, "roles": roles, "directives": directives}),
        )


def _documented_names(readme: str) -> dict[str, frozenset[str]]:
    return {row["file"]: frozenset(re.findall(r"`(\w+)`", row["names"])) for row in _TABLE_ROW.finditer(readme)}


def _texts(folder: Path) -> dict[str, str]:
    """The plain texts of a folder, by name: they have no fields, and a dollar in them is a dollar."""
    texts = {path.stem: _read(path).strip() for path in sorted(folder.glob("*.md"))}
    for name, text in texts.items():
        if not text:
            raise UserError(f"{folder / name}.md is empty: write a text, or remove the file.")
    if not texts:
        raise UserError(f"{folder} holds no Markdown file.")
    return texts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The prompt file {path} cannot be read: {error}.") from error


def _digest(groups: Mapping[str, Mapping[str, str]]) -> str:
    digest = hashlib.sha256()
    for group, texts in sorted(groups.items()):
        for name, text in sorted(texts.items()):
            digest.update(f"{group}/{name}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()
