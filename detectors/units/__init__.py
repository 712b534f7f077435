"""Users, sessions, buildings that decide many times: how much further sums stray because of them."""
