"""Hooks of the site: notebooks become pages, formulas MathML, and links to files outside docs/ plain text."""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)[^)#]+)[^)]*\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)

NAME = re.compile(r"<mi>(log|max|min)</mi>(?=<m[infs])")
"""A function before its argument; the converter leaves out the space between them."""


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook, from its cells and saved outputs, with its pictures."""
    from mkdocs.structure.files import File

    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        stem = notebook.src_uri.removesuffix(".ipynb")
        text, pictures = page_of(Path(notebook.abs_src_path).read_text(encoding="utf-8"), Path(stem).name)
        files.append(File.generated(config, f"{stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, posixpath.join(posixpath.dirname(stem), name), content=content))
    return files


def page_of(notebook: str, stem: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by name."""
    blocks, pictures = [], {}
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for kind, content in outputs_of(cell):
            if kind == "image/png":
                name = f"{stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(content)
                blocks.append(f"![Output of the cell above]({name})")
            else:
                blocks.append(f"```text\n{content.rstrip()}\n```")
    blocks.insert(1, f"This page is a notebook with its saved output: [{stem}.ipynb]({stem}.ipynb).")
    return "\n\n".join(blocks) + "\n", pictures


def outputs_of(cell: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The outputs of a code cell: their type, pictures before text, and their content."""
    for output in cell["outputs"]:
        data = output.get("data") or {"text/plain": output["text"]}
        kind = "image/png" if "image/png" in data else "text/plain"
        yield kind, "".join(data[kind])


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links to files outside docs/ into text, and those to a notebook into links to its page."""
    here, stem = posixpath.dirname(page.file.src_uri), posixpath.basename(page.file.src_uri).removesuffix(".md")

    def replacement(link: re.Match[str]) -> str:
        outside = posixpath.normpath(posixpath.join(here, link[2])).startswith("..")
        return f"`{link[1].strip('`')}`" if outside else link[0]

    return re.sub(rf"(\]\((?!{re.escape(stem)})[^)]+)\.ipynb\)", r"\1.md)", LINK.sub(replacement, markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Turn TeX into MathML, which browsers draw without scripts or downloads."""
    from latex2mathml.converter import convert

    def mathml(formula: re.Match[str]) -> str:
        tex, display = unescape(formula[2]), "inline" if formula[1] == "span" else "block"
        return NAME.sub(r'\g<0><mspace width="0.17em"/>', convert(tex, display=display))

    return FORMULA.sub(mathml, html)
