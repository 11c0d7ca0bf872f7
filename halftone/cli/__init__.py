"""The command line, `halftone …`, one module a group of commands.

`app` is the entry point: it loads a command's module only when that command is called, and turns
errors into one sentence. Commands use the client, the renderings and the stack; they import no
service. Read `app` first, then `options` and `output` for what several commands share.
"""
