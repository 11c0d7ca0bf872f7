"""Load the templates of HTML pages."""

from __future__ import annotations

import functools

import jinja2


@functools.cache
def load(name: str, *, package: str) -> jinja2.Template:
    """Return a template from the folder `templates` of a package. It escapes values for HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)
