"""The press benchmark: prints pictures anew in known ways and searches for them.

`transforms` makes printings from a picture, a strength and a seed, by the `steps` and `screens`; it
shares no code with the simulation that training uses. `gallery` reads the pictures, `systems` are
the ways to search, `benchmark` runs the searches, `figures` judges them, and `report` writes the
results with the diagrams of `plots`. Start with `benchmark`.
"""
