"""One module per stage, each with `run(job, context) -> Outcome`.

`runner` does what all stages share, `launch` starts a training in several processes, `inputs` opens what a job reads, and
`outputs` writes what several stages write.
"""
