"""ACGAN (Odena et al., 2017, arXiv:1610.09585): InfoGAN's supervised relative."""
