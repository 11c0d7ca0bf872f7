"""The training process: `python -m halftone.services.trainer.loop.train`.

`plan` decides what to train on, `state` keeps all that changes and can be resumed, `last_layers`,
`judging` and `finish` complete, judge and publish the version. The worker starts it as a process
and reads its events; only tests import it. Start with `train`.
"""
