"""The page of `gan-zoo explore`: what it computes, how it is laid out, and the server on this machine alone."""
