"""Where the metrics of a run go: metrics.jsonl always, and the trackers that are named."""
