"""What happens along the way: progress, logs, evaluation, samples, checkpoints, stopping early."""
