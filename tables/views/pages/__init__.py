"""The pages of the web views: rendered here, complete without scripts, which only refresh them."""
