"""WGAN-GP (Gulrajani et al., 2017, arXiv:1704.00028)."""
