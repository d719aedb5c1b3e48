"""What mkdocs calls: a page may link to any file of the checkout outside docs/, and the site then holds that file too.

So a picture in results/ is committed once, and the same link works on the site and where the Markdown is read in the checkout.
"""

import os
import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = pathlib.Path(__file__).resolve().parent
HOME = DOCS.parent
LINK = re.compile(
    r"(?<=\]\()([^)#\s:]+)(?=[)#])"
)  # of ](target) and ](target#part), but no address with a scheme
BESIDE = "checkout"  # where the files from outside docs/ lie on the site


def on_files(files: Files, config: MkDocsConfig) -> Files:
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(page.content_string):
            path = _target(page, target)
            if path and not path.is_relative_to(DOCS) and _place(path) not in files.src_uris:
                files.append(File.generated(config, _place(path), abs_src_path=str(path)))
                waiting += [
                    file for file in [files.src_uris[_place(path)]] if file.is_documentation_page()
                ]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    def moved(match: re.Match) -> str:
        path = _target(page.file, match[0])
        return (
            os.path.relpath(_place(path), pathlib.PurePosixPath(page.file.src_uri).parent)
            if path
            else match[0]
        )

    return LINK.sub(moved, markdown)


def _target(page: File, link: str) -> pathlib.Path | None:
    """The file of the checkout that a page links to; None where there is none, which mkdocs then reports."""
    path = (pathlib.Path(page.abs_src_path).parent / link).absolute()
    path = pathlib.Path(os.path.normpath(path))
    return path if path.is_file() and path.is_relative_to(HOME) else None


def _place(path: pathlib.Path) -> str:
    """A file of the checkout as the site's sources name it."""
    return (
        path.relative_to(DOCS).as_posix()
        if path.is_relative_to(DOCS)
        else f"{BESIDE}/{path.relative_to(HOME).as_posix()}"
    )
