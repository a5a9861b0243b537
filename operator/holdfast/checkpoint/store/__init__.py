"""Object stores: the real one, and patience around any of them."""
