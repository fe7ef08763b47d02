"""Datasets by name, training batches, and augmentation."""
