"""Model versions on disk: publishes, verifies, finds and activates them. Needs no torch.

`versions.Registry` is the door: a directory of `name/number` folders and the pointer to the active
one. `version` describes one version, `manifest` checks the hashes of its files, `copies` adds and
removes whole versions, and `pointer` says which one is active. `starter` finds the version that
comes with the package. `golden` checks that a version still computes the descriptors that it was
published with. Start with `versions`.
"""
