"""metrics.jsonl, which every run has, and trackers."""
