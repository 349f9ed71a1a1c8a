"""The plan: which layers become convolutions, and where the spatial form begins and ends."""
