"""SLURM as this workflow meets it: inside a job, and in the queue."""
