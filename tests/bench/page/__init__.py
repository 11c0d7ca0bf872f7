"""How fast, light and sturdy the page is, as browsers meet it: a stack, an archive, Chromium.

`python -m tests.bench.page --archive PATH` runs all parts. `__main__.py` starts the stack,
`drop.py` times a drop, `crowd.py` lets many search at once, `attack.py` sends what is hostile.
"""
