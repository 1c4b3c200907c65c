"""What a SLURM cluster offers, the words of a site for it, and what would fail there."""
