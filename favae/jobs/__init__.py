"""Which jobs exist, with which parameters, what they cost and what they require."""
