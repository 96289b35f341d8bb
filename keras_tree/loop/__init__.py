"""What the training loop is made of: sources of batches, the step, its compilation, its checks."""
