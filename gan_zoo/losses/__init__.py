"""What the networks are trained by: adversarial losses and gradient penalties, one function a formula."""
