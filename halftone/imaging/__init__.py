"""From the bytes of a file to pixels, or a refusal with a reason.

`images` decodes what archives contain within a budget of pixels; `headers` reads what a file says
before it is decoded; `orientations` are the eight ways a picture can lie. Pillow and NumPy only.
Start with `images.decode`.
"""
