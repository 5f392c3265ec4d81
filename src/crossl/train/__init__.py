"""Training by gradient: schedule, batches, processes, guards, checkpoints."""
