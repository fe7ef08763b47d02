"""Networks by name: each a generator and a discriminator trunk that belong together."""
