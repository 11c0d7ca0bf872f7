"""The command line, `halftone …`, one module a group of commands.

`app` holds `up`, `list`, `show`, `facets` and `thumbnail`, and loads every other command's module
only when that command is called. `connecting` finds the service that a command talks to, and
`terminal` has what commands have to do with the terminal they run in. Commands use the client, the
renderings and the stack; commands about models also use `registry`, `evaluation` and `vision`. They
import no service. `tables` makes tables fit the terminal, `hits` and `cluster_tables` lay them out.
Read `app` first, then `options` and `output` for what several commands share.
"""
