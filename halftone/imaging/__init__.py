"""Turns the bytes of a file into pixels, or refuses it with a reason.

`images` decodes what archives contain. `sources` is a picture whose header was read, by `opening`;
`headers` reads what a file says before it is decoded, and `formats` what is particular to one
format. `caps` and `directories` refuse what would cost more than a picture needs, `needs` counts
the memory that pictures wait for, `samples` and `conversion` make 8-bit pixels, in `strips`;
`reasons` lists why pictures are refused.
`pool` does all that in processes that may be killed. `regions` cuts out, scales and encodes parts
of a picture; `orientations` are the eight ways in which a picture can lie. These need Pillow and
NumPy alone. `luminance` turns a picture into grey pixels and `layout` finds the pictures on a page
of text; both need OpenCV (the extra `matching`). Start with `images.decode`.
"""
