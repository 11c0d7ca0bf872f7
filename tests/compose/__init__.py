"""The images and `docker compose`, as an operator runs them; `make compose-test`.

`engine.py` finds a Docker engine, or starts one of its own where it may. `bases.py` gets the images
that compose and Dockerfile name: it pulls them, or makes local stand-ins. `stack.py` starts and
stops a project of compose. `conftest.py` builds the images and puts the rest together. Read
`test_stack.py` first.
"""
