"""What commands have to do with the terminal, or the pipe, that they run in.

`streams` lets the standard streams take every text; `progress` shows how far something is; and
`failures` turns errors into one sentence and an exit code. Commands use `progress`; `app` uses the
others.
"""
