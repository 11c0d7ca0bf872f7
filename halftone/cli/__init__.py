"""The command line, `halftone …`, one module a group of commands.

`app` is the entry point. It holds `up`, `search`, `list`, `show`, `facets` and `thumbnail`, loads
every other command's module only when that command is called, and turns errors into one sentence.
Commands use the client, the renderings and the stack; commands about models also use
`registry`, `evaluation` and `vision`. They import no service. Read `app` first, then `options` and
`output` for what several commands share.
"""
