"""Keeping Snakemake, DVC and MLflow in agreement with the results, and the audit of tables."""
