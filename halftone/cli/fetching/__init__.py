"""Fetches pictures from libraries that offer them by IIIF, politely.

`web` asks one address after another and refuses where none should be asked; `harvest` walks
collections and manifests, and keeps what it has in a folder that `halftone import` reads. Start
with `harvest.fetch_all`.
"""
