"""SNGAN (Miyato et al., 2018, arXiv:1802.05957)."""
