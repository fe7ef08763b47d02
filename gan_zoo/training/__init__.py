"""The one loop that trains every model, and what it stands on."""
