"""Saving and loading trained models; reconstructing, translating and sampling images for a user."""
