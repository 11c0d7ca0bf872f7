"""The pages: each handler reads its address, asks `answers`, and renders a template.

`desk.py` holds what the handlers share, `rendering.py` turns templates into answers; read these
two first. Handlers return HTML that works without JavaScript, and JSON where a script asks for it.
"""
