"""Results on disk: cards, publishing, run records, status, what differs, what is left over."""
