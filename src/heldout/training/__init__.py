"""One fit: loop, stopping, checkpoints, losses, metrics, and the baselines to beat."""
