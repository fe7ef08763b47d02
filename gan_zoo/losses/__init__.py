"""Adversarial losses and gradient penalties, one function for each formula."""
