"""The private APIs of other libraries that this package uses. A test compares the list with the code.

Look here first when a new release of one of them breaks something.
"""

WORKS_WITH = {"torch": "2.13", "tyro": "1.0.17"}
"""Releases with which these names are known to work."""

USED = {
    "torch._C._are_functorch_transforms_active": "kernels: no fused operator under vmap or grad transforms",
    "torch._C._autograd.DeviceType": "bench: the events of a profile that ran on the device",
    "torch._C._is_tracing": "kernels: no fused operator under torch.jit.trace",
    "torch._C._len_torch_dispatch_stack": "kernels: no direct call under a dispatch mode",
    "torch._foreach_add_": "one launch for a list of tensors, as in torch.optim",
    "torch._foreach_copy_": "the same",
    "torch._foreach_lerp_": "the same",
    "torch._foreach_mul_": "the same",
    "torch._functorch.config.patch": "retain a compiled graph for a second backward pass",
    "torch._fused_sgd_": "the moving average of the weights in one launch",
    "torch.autograd.forward_ad._current_level": "kernels: no fused operator under forward-mode differentiation",
    "torch.cuda._sleep": "bench: hold the device while launches queue up",
    "torch.nn.modules.batchnorm._BatchNorm": "the base class of every batch norm",
    "torch.nn.utils.parametrizations._SpectralNorm": "spectral norm with statistics per pass",
    "torch.utils.data.DataLoader._iterator._shutdown_workers": "stop the workers of a stream at once",
    "torch.utils.data.DataLoader._iterator._workers": "the exit code of a worker that was killed",
    "tyro._errors.on_parse_error": "one-line messages instead of tyro's boxes; without it, tyro prints its boxes",
    "tyro._experimental_options": "no colours with NO_COLOR",
}
"""Each name, and what it is for."""
