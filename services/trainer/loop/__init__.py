"""The training process: `python -m halftone.services.trainer.loop.train`.

`plan` decides what to train on, `state` is all that changes and can be resumed, `finish` fits the
last layers, evaluates and publishes. The worker starts it and reads its events; nothing imports it
but tests.
"""
