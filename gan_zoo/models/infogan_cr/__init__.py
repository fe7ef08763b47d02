"""InfoGAN-CR (Lin et al., 2020, arXiv:1906.06034): what it adds to InfoGAN."""
