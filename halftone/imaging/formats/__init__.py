"""What is particular to one format of picture files.

`tiff` reads the directories of a TIFF, `tiff_pages` says which of them are pages and cuts one out,
and `tiff_parts` decodes strips and tiles that libtiff does not know. `jpeg2000` and `heif` read
headers and count what a decoder will take; `jpeg_ends` mends a JPEG without its end marker. Bytes
come in. Nothing here knows the other formats: `halftone.imaging.headers` and `sources` put them
together. Start with `tiff`.
"""
