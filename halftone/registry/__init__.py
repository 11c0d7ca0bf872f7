"""Model versions on disk: published once, verified, resolved, pointed at. Needs no torch.

`versions.Registry` is the door: a directory of `name/number` folders and the pointer to the active
one. `version` is one version, `manifest` the hashes of its files, `copies` how versions appear and
disappear as a whole, `pointer` which one answers. `golden` checks that a version still computes
what it did when it was published. Start with `versions`.
"""
