"""Trained models on disk, and their use on a user's own images."""
