"""MLflow as a view of the results: a person looks at it, nothing depends on it."""
