"""Makes the network that judges whether what two registered pictures share is a picture.

`samples` collects what it learns from, `variants` prints and retouches that anew, and `network`
trains it. Start reading at `samples.see`; `python -m halftone.evaluation.judging` does it all.
"""
