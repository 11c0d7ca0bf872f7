"""The worker that runs training jobs: `python -m halftone.services.trainer.worker`.

`tasks` takes a message from Celery, `runner` leases the job and starts the training process
(`process`, with the settings of `run_config`), `watch` follows it, and `promotion` asks the search
service to promote the published version. The room does not need torch. Start with `runner`.
"""
