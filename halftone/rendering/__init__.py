"""What people look at: contact sheets, cluster pages, the light table, tables and exports.

Everything takes what the client returns and writes HTML, PNG, CSV, JSON or text; nothing here asks
a service. Templates lie in `templates/`. Start with `contact_sheet` or `timelines`.
"""
