"""One module per stage, each with `run(job, context) -> Outcome`.

`runner` runs a stage and publishes its result, `launch` starts a training in several processes, `inputs` opens the inputs of
a job, and `outputs` writes files that several stages have in common.
"""
