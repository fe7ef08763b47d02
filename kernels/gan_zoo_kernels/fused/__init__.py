"""The Triton kernels, one file each: device code, launcher, autograd. Their modules import triton."""
