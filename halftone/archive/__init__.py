"""What an archive is: manifests, records and their dates.

`manifests` reads a folder of pictures with its CSV, TSV or JSON Lines file; `tables` reads such
files whatever they list (also training data and groups); `records` says what the fields of a record
may hold; `dates` reads EDTF. Nothing here decodes a picture or talks to a service. Start with
`manifests.read_manifest`.
"""

from halftone.archive.manifests import read_manifest as read_manifest
