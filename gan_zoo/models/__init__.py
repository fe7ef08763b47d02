"""The models: one folder each, found by name through `gan_zoo.registry.models`."""
