"""Turns the bytes of a file into pixels, or refuses it with a reason.

`images` decodes what archives contain within a budget of pixels; `headers` reads what a file says
before it is decoded; `regions` cuts out, scales and encodes parts of a picture; `orientations` are
the eight ways in which a picture can lie. These need Pillow and NumPy alone. `luminance` turns a
picture into grey pixels and `layout` finds the pictures on a page of text; both need OpenCV (the
extra `matching`). Start with `images.decode`.
"""
