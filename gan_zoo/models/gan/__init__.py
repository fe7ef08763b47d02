"""The plain GAN, on which the other models build."""
