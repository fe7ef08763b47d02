"""The projection GAN (Miyato and Koyama, 2018, arXiv:1802.05637)."""
