"""FA-VAE and CAT (CVPR 2023), and the papers their losses stand on, as a reproducible workflow."""

__version__ = "0.1.0"
