"""Image sets by name, the batches that a run draws from them, and augmentation."""
