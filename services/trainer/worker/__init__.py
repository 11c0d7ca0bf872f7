"""The Celery worker: `python -m halftone.services.trainer.worker`.

`tasks` takes a message, `runner` leases the job and starts the training process, `watch` follows
it, `promotion` asks the search service to use what was published. Needs no torch. Start with
`runner`.
"""
