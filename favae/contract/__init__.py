"""Snakemake, DVC and MLflow held together: what is current, what is locked, where a number comes from."""
