"""LSGAN (Mao et al., 2017, arXiv:1611.04076)."""
