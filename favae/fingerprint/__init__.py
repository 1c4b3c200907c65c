"""Which code can affect a result, and the fingerprint of that code."""
