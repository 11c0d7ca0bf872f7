"""What is refused before a page sees it: other hosts' requests, forged forms, floods, large bodies.

A request comes in through `gate.py`, which also puts the security headers on every answer. Read it
first. `forms.py` makes and checks the tokens of forms, `visitors.py` asks for keys.
"""
