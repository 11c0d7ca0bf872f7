"""Write a report's page: sections of text, tables and pictures, one HTML file without scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import jinja2

from halftone.core import files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ReportPicture:
    """An image file beside the page. `alt` describes it for those who cannot see it."""

    file: str
    alt: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table, with small text below it; `mark` is `better`, `worse` or empty."""

    text: str
    small: str = ""
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first row and first column are headings; numbers are aligned to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page; its parts appear in the order of the fields.

    Attributes:
        title: Its heading.
        text: Paragraphs below the title.
        tables: Tables below the text.
        pictures: Pictures below the tables.
        code: Titles, each with a text that is shown verbatim.
        links: Addresses relative to the page, each with its text.
        level: Level of the heading, 2 or 3.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[ReportPicture] = ()
    code: Sequence[tuple[str, str]] = ()
    links: Sequence[tuple[str, str]] = ()
    level: int = 2


_TEMPLATE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 2px solid #1f5a96; padding-bottom: .2rem; }
h3 { margin-top: 1.6rem; }
.subtitle { color: #555; margin-top: .2rem; }
nav ul { padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; }
.tables { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; font-size: .875rem; caption-side: bottom;
  padding-top: .4rem; }
th, td { padding: .25rem .8rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid #ddd; }
th { font-weight: 600; }
tr > :first-child { text-align: left; }
td small { display: block; color: #555; white-space: nowrap; }
.better { color: #1d6b3c; font-weight: 600; } .better::after { content: " ▲"; }
.worse { color: #a02c22; font-weight: 600; } .worse::after { content: " ▼"; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; break-inside: avoid; }
figure.wide { width: 100%; }
figcaption { color: #333; font-size: .875rem; max-width: 40rem; overflow-wrap: anywhere; }
figure.pair { max-width: 272px; }
img { max-width: 100%; height: auto; display: block; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: .8rem;
  font-size: .8125rem; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } nav { display: none; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; } a { color: inherit; } }
</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p class="subtitle">{{ subtitle }}</p>
<nav aria-label="Sections"><ul>
{% for section in sections if section.level == 2 %}
<li><a href="#s{{ loop.index }}">{{ section.title }}</a></li>
{% endfor %}
</ul></nav>
</header>
<main>
{% set number = namespace(value=0) %}
{% for section in sections %}
{% if section.level == 2 %}{% set number.value = number.value + 1 %}
<h2 id="s{{ number.value }}">{{ section.title }}</h2>
{% else %}
<h3>{{ section.title }}</h3>
{% endif %}
{% for text in section.text %}
<p>{{ text }}</p>
{% endfor %}
{% for table in section.tables %}
<div class="tables"><table>
{% if table.caption %}
<caption>{{ table.caption }}</caption>
{% endif %}
<thead><tr>{% for name in table.head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>{% for cell in row %}
{% if loop.first %}
<th scope="row">{{ cell.text if cell.text is defined else cell }}</th>
{% elif cell.text is defined %}
<td><span{% if cell.mark %} class="{{ cell.mark }}"{% endif %}>{{ cell.text }}</span>
{%- if cell.small %}<small>{{ cell.small }}</small>{% endif %}</td>
{% else %}
<td>{{ cell }}</td>
{% endif %}
{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
{% if section.pictures %}
<div class="pictures">
{% for picture in section.pictures %}
<figure class="{{ 'wide' if picture.wide else 'pair' if picture.file.startswith('pair') }}">
<img src="{{ picture.file }}" alt="{{ picture.alt }}">
{% if picture.caption %}
<figcaption>{{ picture.caption }}</figcaption>
{% endif %}
</figure>
{% endfor %}
</div>
{% endif %}
{% for label, code in section.code %}
<p>{{ label }}</p>
<pre>{{ code }}</pre>
{% endfor %}
{% if section.links %}
<p>Reports: {% for address, name in section.links %}<a href="{{ address }}">{{ name }}</a>
{%- if not loop.last %}, {% endif %}{% endfor %}</p>
{% endif %}
{% endfor %}
</main>
</body>
</html>
"""


def write_page(folder: Path, *, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Write `index.html` beside the image files, which must exist already."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(_TEMPLATE).render(
        title=title, subtitle=subtitle, sections=sections
    )
    files.replace_file(folder / "index.html", page.encode())
