"""What Snakemake, DVC and MLflow are told about results, and the audit of what tables say."""
