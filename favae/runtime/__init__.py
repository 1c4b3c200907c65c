"""The ground: paths, atomic files, hashes, CPU, SLURM, progress. Imports nothing else of this package."""
