"""What to do about a measurement: rules, alert life cycle, signals, outbox, senders."""
