"""Reads what describes an archive: manifests, records and their dates.

`sources` opens whatever holds records, as `manifests` reads a folder of pictures with its CSV, TSV
or JSON Lines file, and `rows` makes the records; `pages` reads what describes page scans and the
pictures on them; `data_sets` lists what models are trained on; `tables` reads such files for any
purpose (also groups); `records` says what the fields of a record may hold; `dates` reads EDTF,
`loose_dates` what people write; `sample` makes the sample archive of the demonstration. Only
`pages.scans` and `sample` open pictures, and nothing here talks to a service. Start with
`sources.open_source`.
"""

from halftone.archive.manifests import read_manifest as read_manifest
