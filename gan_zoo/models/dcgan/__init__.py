"""DCGAN (Radford et al., 2016, arXiv:1511.06434)."""
