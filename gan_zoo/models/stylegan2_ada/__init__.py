"""StyleGAN2-ADA (Karras et al., 2020, arXiv:2006.06676)."""
