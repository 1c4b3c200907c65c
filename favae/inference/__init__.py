"""Saving and loading trained models, and reconstructing a user's own images."""
