"""Metrics, their names and protocols: image metrics, LPIPS, Frechet distances."""
