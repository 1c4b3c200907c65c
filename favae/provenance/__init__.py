"""Identity of results: canonical JSON, content keys, cards, run records, atomic files, cell locks."""
