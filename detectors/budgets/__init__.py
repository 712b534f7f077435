"""What may be spent: costs and latency against their budgets."""
