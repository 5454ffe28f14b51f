"""From a file or frame to batches: reading, preparing, splitting, cutting windows."""
