"""One module a stage, each with `run(job, context)`; `runner` does what all stages share."""
