"""The furniture benchmark: different pictures in the same furniture, one picture in several.

Furniture is what sheets share without being the same picture: frames, heads, credit lines, charts,
maps, boards. `kinds` lists it, with the cases of each; `frames`, `pages`, `stands`, `documents`,
`plates`, `maps`, `boards` and `charts` draw it with `canvas`, `words` and `vignettes`. `sheets`
lays pictures into it, `conditions` prints both sheets of a pair, `benchmark` has versions compare
them, `figures` judges the answers, and `report` writes them down. No other room may import what
draws here: a calibration that learned from it could not be judged by it. Start with `benchmark`.
"""
