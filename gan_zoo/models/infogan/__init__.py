"""InfoGAN (Chen et al., 2016, arXiv:1606.03657): what it adds to a GAN."""
