"""The press benchmark: pictures printed anew in known ways and searched for.

`transforms` makes printings from a picture, a strength and a seed; it shares no code with the
simulation that training uses. `benchmark` runs the searches and `report` writes what it found.
Start with `benchmark`.
"""
