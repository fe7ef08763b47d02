"""A plug-in for gan-zoo."""
