"""Makes what people look at: contact sheets, cluster pages, the light table, overlays, exports.

Everything takes what the client returns and writes HTML, pictures, CSV or JSON; `cli` prints the
tables for a terminal. The room may import `client` and what that may import. `timelines` describes
a cluster, `alignments` lays its printings upon each other for the `light_table`, `overlay` draws
two pictures with what they share. `cluster_export` and `verdict_export` write files for other
programs, `json_forms` has their JSON, `wording` puts dates and counts into words. Read
`contact_sheet` for a search and `cluster_page` for a cluster first; templates lie in `templates/`.
"""
