"""Images in, shards out, batches: published layouts, preparation, and what training and evaluation read."""
