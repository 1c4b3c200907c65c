"""Basic tools: paths, atomic files, hashes, CPU settings, SLURM, progress. Imports no other package of favae."""
