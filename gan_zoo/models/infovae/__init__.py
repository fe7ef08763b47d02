"""InfoVAE: a variational autoencoder with InfoGAN's codes and information term."""
