"""The jobs of a scale: their inputs and parameters, what they cost and what they require."""
