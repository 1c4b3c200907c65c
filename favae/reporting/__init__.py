"""Tables beside the papers' numbers, and figures: made from result files only, never from checkpoints."""
