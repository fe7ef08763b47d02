"""What the commands that look at a model and measure it do."""
