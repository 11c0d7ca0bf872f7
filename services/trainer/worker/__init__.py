"""The Celery worker: `python -m halftone.services.trainer.worker`.

`tasks` takes a message, `runner` leases the job and starts the training process (`process`, told by
`run_config`), `watch` follows it, and `promotion` asks the search service to use what was
published. The room needs no torch. Start with `runner`.
"""
