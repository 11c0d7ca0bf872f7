"""The training process: `python -m halftone.services.trainer.loop.train`.

`plan` decides what to train on, `config` has the settings, and `initialise` makes the network to
start from. `state` holds the state of a run and resumes it from what `checkpoint` reads, with the
losses of `objectives`; `world` connects several processes. `progress` and `events` report to people
and to the worker.
`last_layers`, `judging` and `finish` complete, evaluate and publish the version. The worker starts
this as a process and reads its events; only tests import it. Start with `train`.
"""
