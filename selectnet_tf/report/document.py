"""HTML pages that hold their style, script and images."""

import base64
import html
import importlib.resources
import io

import numpy as np


def document(title: str, body: str, *more: str) -> str:
    """Returns a page with the style and script of page.css and page.js inside.

    Args:
        title: of the page, as plain text.
        body: HTML.
        more: stems of further styles and scripts, such as "review".
    """
    folder = importlib.resources.files("selectnet_tf.report")
    style, script = (
        "\n".join(folder.joinpath(f"{name}.{kind}").read_text("utf-8") for name in ("page", *more))
        for kind in ("css", "js")
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    )
    return (
        "<!doctype html><html"
        f' lang="en"><head>{head}<title>{html.escape(title)}</title><style>{style}</style></head>'
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def encode(image: np.ndarray) -> str:
    """Returns an image as a data: URL (WebP). image: [H, W, 1 or 3] uint8."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
        buffer, "WEBP", quality=82, method=0
    )
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
