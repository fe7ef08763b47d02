"""What is read out of a trained run."""
