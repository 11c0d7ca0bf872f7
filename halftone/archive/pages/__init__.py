"""Reads what describes page scans: which pictures stand on a page, and where.

Four formats become the same plain data (`model`): ALTO (`alto`), METS (`mets`, with what MODS and
Dublin Core say in `descriptive`), PAGE XML (`page_xml`) and IIIF annotations (`iiif`).
`markup` reads XML that may be hostile, and nothing else here opens a file of XML. `folders` finds
the scans of a folder and what belongs to each, `placing` brings boxes into pixels of the scan and
notices units and scales that do not fit, `captions` looks for the text of a picture, and `scans`
alone opens pictures. Nothing here talks to a service. Start with `folders.read_issues`.
"""

from halftone.archive.pages.folders import read_issues as read_issues
from halftone.archive.pages.model import Block as Block
from halftone.archive.pages.model import Box as Box
from halftone.archive.pages.model import Issue as Issue
from halftone.archive.pages.model import Kind as Kind
from halftone.archive.pages.model import Page as Page
