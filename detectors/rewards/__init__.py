"""What came back: rewards, their delays and seasons, the truth they stand for, business metrics."""
