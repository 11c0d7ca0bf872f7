"""Makes what people look at: contact sheets, cluster pages, the light table, overlays, exports.

Everything takes what the client returns and writes HTML, pictures, CSV or JSON; `cli` prints the
tables for a terminal. The room may import `client` and what that may import. `timelines` describes
a cluster, `wording` puts dates and counts into words, `json_forms` is for programs. Read
`contact_sheet` for a search and `cluster_page` for a cluster first; templates lie in `templates/`.
"""
