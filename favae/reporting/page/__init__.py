"""A static page of a scale's results: tables in which every number opens its chain, a gallery, curves, claims, terms."""
