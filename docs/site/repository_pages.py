"""Hook of MkDocs: files of the repository that are pages of the site, and links between them and docs/.

Links in the repository are those of GitHub, from file to file.  On the site they lead to the page of a file, or to GitHub where
it has none.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """The page of each file outside docs/, and of each tutorial, by their paths in the repository and on the site."""
    found = {f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
    for readme in ROOT.glob("bundles/*/docs/README.md"):
        found[readme.relative_to(ROOT).as_posix()] = f"bundles/{readme.parts[-3]}.md"
    for script in ROOT.glob("docs/tutorials/*.py"):
        found[script.relative_to(ROOT).as_posix()] = f"tutorials/{script.stem}.md"
    return found


def text_of(path: Path) -> str:
    """A file as Markdown; of a script its docstring, and below it the code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    docstring = ast.parse(text).body[0]
    code = "\n".join(text.splitlines()[docstring.end_lineno :]).strip()
    title, _, rest = ast.get_docstring(ast.parse(text)).removeprefix("Tutorial: ").partition("\n")
    return f"# {title[:1].upper()}{title[1:].rstrip('.')}\n{rest}\n\n```python\n{code}\n```\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of files outside docs/, and those of tutorials."""
    for source, page in pages().items():
        files.append(File.generated(config, page, content=text_of(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **others: Any) -> str:
    """Let the links of a page lead to pages, or to GitHub."""
    pages_of = pages()
    own = page.file.src_uri
    source = {uri: path for path, uri in pages_of.items()}.get(own, f"docs/{own}")

    def translated(link: re.Match[str]) -> str:
        target, anchor = normpath(join(dirname(source), link[1])), link[2] or ""
        if not (ROOT / target).exists():  # no link, but code, or a broken link, of which MkDocs warns
            return link[0]
        uri = pages_of.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if uri is None:
            return f"]({config.repo_url}/blob/main/{target}{anchor})"
        return f"]({relpath(uri, dirname(own) or '.')}{anchor})"

    return LINK.sub(translated, markdown)
