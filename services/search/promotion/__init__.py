"""Promotion: how another model version comes to answer for the archive.

`promotions` is the door; `job` is one promotion from the first image to the switch; `sync` embeds
the archive anew while searches go on; `compare` refuses a version that finds less. Start with
`promotions`.
"""
