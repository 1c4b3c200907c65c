"""What a SLURM cluster offers, the settings of a site for it, and what would fail there."""
