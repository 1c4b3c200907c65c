"""Results on disk: cards, publishing, run records, status, differences, leftovers."""
