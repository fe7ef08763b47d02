"""Trunks: matching pairs of a generator and a discriminator network."""
