"""Hooks of mkdocs: a page may link to any file of the checkout, and the site then includes it.

So an image in results/ is committed once, and one link works on the site and in the checkout.
"""

import os
import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = pathlib.Path(__file__).resolve().parent
HOME = DOCS.parent
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")  # ](target) or ](target#part), no address
CHECKOUT = "checkout"  # the site's folder for files from outside docs/


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files that pages link to, and those that added pages link to."""
    pages = list(files.documentation_pages())
    while pages:
        page = pages.pop()
        for link in LINK.findall(page.content_string):
            path = _target(page, link)
            if path is None or path.is_relative_to(DOCS) or _site_path(path) in files.src_uris:
                continue
            added = File.generated(config, _site_path(path), abs_src_path=str(path))
            files.append(added)
            if added.is_documentation_page():
                pages.append(added)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Returns the page with links to the files' places on the site."""
    folder = pathlib.PurePosixPath(page.file.src_uri).parent

    def relocate(match: re.Match) -> str:
        path = _target(page.file, match[0])
        return match[0] if path is None else os.path.relpath(_site_path(path), folder)

    return LINK.sub(relocate, markdown)


def _target(page: File, link: str) -> pathlib.Path | None:
    """Returns the file of the checkout that a page links to; None if mkdocs is to report it."""
    path = pathlib.Path(os.path.normpath(pathlib.Path(page.abs_src_path).parent / link))
    return path if path.is_file() and path.is_relative_to(HOME) else None


def _site_path(path: pathlib.Path) -> str:
    """Returns the path of a checkout's file in the site's sources."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"{CHECKOUT}/{path.relative_to(HOME).as_posix()}"
