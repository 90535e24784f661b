"""Fill a template of `reports/templates`, with the style sheet and its fonts inside the page."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from hitsr.base.errors import DataError


def fill(
    templates: Path,
    name: str,
    values: Mapping[str, object],
    filters: Mapping[str, Callable[..., Any]] | None = None,
    scripts: Sequence[str] = (),
) -> str:
    """The page that a template makes of `values`, `style` and `script`.

    DataError where a template, the style sheet or one of the `scripts` cannot be read.
    """
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    try:
        style = Markup(embedded(templates / "style.css"))
        script = Markup("".join((templates / each).read_text(encoding="utf-8") for each in scripts))
        return environment.get_template(name).render(style=style, script=script, **values)
    except (TemplateError, OSError) as error:
        raise DataError(
            f"{templates}: {type(error).__name__}: {error}; restore it from the repository"
        ) from error


def embedded(style: Path) -> str:
    """The style sheet with its fonts as data URIs."""

    def data_uri(match: re.Match[str]) -> str:
        font = (style.parent / match.group(1)).read_bytes()
        return f"url(data:font/woff2;base64,{base64.b64encode(font).decode()})"

    return re.sub(r'url\("([^"]+\.woff2)"\)', data_uri, style.read_text(encoding="utf-8"))
