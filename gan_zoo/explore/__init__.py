"""The page of `gan-zoo explore`: computation (`view`), layout (`app`) and the local server (`server`)."""
